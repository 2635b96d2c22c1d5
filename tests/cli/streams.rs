//! What every tool does alike: streams that fail, names of any bytes, and command lines that make no sense.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

/// Each tool, and a call with a name that is not UTF-8 in it that has to fail for what it names.
const TOOLS: [(&str, &[&[u8]]); 8] = [
    ("fetch", &[b"/nonexistent/\xff\xfe@v1"]),
    ("verify", &[b"--sums", b"SUMS", b"/nonexistent/\xff\xfe"]),
    ("swapbin", &[b"/nonexistent/\xff\xfe", b"/nonexistent/\xfe"]),
    ("setcap-keep", &[b"/nonexistent/\xff\xfe", b"--", b"/bin/true"]),
    ("unit-render", &[b"--template", b"/nonexistent/\xff\xfe"]),
    ("unit-diff", &[b"/nonexistent/\xff\xfe", b"/nonexistent/\xfe"]),
    ("svc-wait", &[b"\xff\xfe.service"]),
    ("rollback", &[b"/nonexistent/\xff\xfe"]),
];

fn call(tool: &str, arguments: &[&[u8]], stdout: Stdio) -> Output {
    let arguments: Vec<OsString> = arguments.iter().map(|a| OsStr::from_bytes(a).to_owned()).collect();
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("swapbin").with_file_name(tool));
    command.args(&arguments).env("UPSWAP_ROOT", root.path()).stdin(Stdio::null()).stdout(stdout);
    command.stderr(Stdio::piped()).output().unwrap()
}

/// The exit code, after a look at what must never be: a panic, a signal, more than one line of complaint.
fn code_of(tool: &str, output: &Output) -> i32 {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or_else(|| panic!("{tool}: {}", output.status));
    assert!(![101, 134, 139].contains(&code) && !stderr.contains("panicked"), "{tool}: {code}\n{stderr}");
    code
}

#[test]
fn a_full_disk_under_stdout_is_an_error_and_no_panic() {
    for (tool, _) in TOOLS {
        for flag in [&b"--help"[..], b"--version"] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            assert_eq!(code_of(tool, &call(tool, &[flag], full.into())), 3, "{tool}");
        }
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    for (tool, _) in TOOLS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = call(tool, &[b"--help"], writer.into());
        assert_eq!(code_of(tool, &output), 3, "{tool}");
        assert_eq!(output.stderr, b"", "{tool}: nobody reads it, so there is nothing to say");
    }
}

#[test]
fn a_name_of_any_bytes_gets_one_line_and_a_code_of_the_table() {
    for (tool, arguments) in TOOLS {
        let output = call(tool, arguments, Stdio::piped());
        let code = code_of(tool, &output);
        assert!([1, 2, 3].contains(&code), "{tool}: {code}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(stderr.lines().count(), 1, "{tool}: {stderr}");
        assert!(stderr.starts_with(&format!("{tool}: ")), "{tool}: {stderr}");
        assert_eq!(output.stdout, b"", "{tool}");
    }
}

#[test]
fn a_wrong_command_line_gets_one_line_that_names_the_help() {
    for (tool, _) in TOOLS {
        for arguments in [&[][..], &[&b"--no-such-option"[..]], &[&b"--\xff"[..]]] {
            let output = call(tool, arguments, Stdio::piped());
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(code_of(tool, &output), 2, "{tool} {arguments:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{tool}: {stderr}");
            assert!(stderr.contains(&format!("see {tool} --help")), "{tool}: {stderr}");
        }
    }
}

#[test]
fn every_answer_in_json_has_its_schema_tool_and_exit() {
    for (tool, arguments) in TOOLS {
        let output = call(tool, &[&[&b"--json"[..]], arguments].concat(), Stdio::piped());
        let code = code_of(tool, &output);
        if code == 2 {
            // A command line that can't be read has not asked for JSON either.
            continue;
        }
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&object["schema"], &object["tool"], &object["exit"]), (&1.into(), &tool.into(), &code.into()));
        assert!(object["error"].is_string(), "{tool}: {object}");
    }
}
