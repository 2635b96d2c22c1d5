//! What the tools print with `--json`, compared with the JSON sections of their pages: nothing more, nothing less.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use serde_json::{Value, json};
use upswap::words::digest::Digest;

use super::pages::PAGES;
use super::tool;
use crate::host::program;

/// A host in a folder of its own, and what its tools have printed.
struct Host {
    root: tempfile::TempDir,
    seen: BTreeSet<String>,
    tool: &'static str,
}

impl Host {
    fn new(tool: &'static str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self { root, seen: BTreeSet::new(), tool }
    }

    fn path(&self, below: &str) -> String {
        self.root.path().join(below).to_str().unwrap().to_owned()
    }

    fn file(&self, below: &str, text: &str) -> String {
        let path = self.path(below);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        program(&path, text);
        path
    }

    fn run(&self, tool_name: &str, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(tool(tool_name))
            .args(arguments)
            .current_dir(self.root.path())
            .env("UPSWAP_ROOT", self.root.path())
            .env("PATH", format!("{}:/usr/bin:/bin", Path::new(tool("swapbin")).parent().unwrap().display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let code = output.status.code().unwrap();
        (code, String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    }

    /// Something that happens before the call that is looked at.
    fn first(&self, tool_name: &str, arguments: &[&str]) {
        let (code, said) = self.run(tool_name, arguments);
        assert_eq!(code, 0, "{tool_name} {arguments:?}: {said}");
    }

    /// Runs the tool with `--json`, and remembers the members that it prints.
    fn answers(&mut self, code: i32, arguments: &[&str]) {
        let arguments = [&["--json", "-q"], arguments].concat();
        let (got, said) = self.run(self.tool, &arguments);
        assert_eq!(got, code, "{} {arguments:?}: {said}", self.tool);
        let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{arguments:?}: {said}"));
        let Value::Object(mut object) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
        assert_eq!(object.remove("schema"), Some(1.into()), "{line}");
        assert_eq!(object.remove("tool"), Some(self.tool.into()), "{line}");
        assert_eq!(object.remove("exit"), Some(code.into()), "{line}");
        if object.remove("error").is_some() {
            assert!(object.is_empty(), "an error has no other members: {line}");
        }
        members("", &Value::Object(object), &mut self.seen);
    }

    /// Compares what was printed with the tool's page.
    fn matches_its_page(self) {
        let documented = documented(self.tool);
        assert_eq!(self.seen, documented, "left: printed by {}, right: in its page", self.tool);
    }
}

/// The members of `value`, each by its way there: `files[].stored[].name`.
fn members(way: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        // The page says that it is the record of fetch and verify.
        Value::Object(_) if way.ends_with(".origin") => {}
        Value::Object(object) => {
            for (key, value) in object {
                // The page says "like back", and of the verdicts in it that svc-wait(1) tells of them.
                let way =
                    if way.is_empty() { key.clone() } else { format!("{way}.{key}").replace("settled[].", "back.") };
                members(&way, value, found);
                found.insert(way);
            }
        }
        Value::Array(list) if way != "back.proven" => {
            for value in list {
                members(&format!("{way}[]"), value, found);
            }
        }
        _ => {}
    }
}

fn documented(tool: &str) -> BTreeSet<String> {
    let page = PAGES.iter().find(|page| page.tool == tool).unwrap();
    let terms = page.json.iter().flat_map(|(_, members)| *members).map(|(term, _)| *term);
    terms.flat_map(|term| term.split(", ")).map(str::to_owned).collect()
}

#[test]
fn fetch_prints_what_its_page_says() {
    let mut host = Host::new("fetch");
    host.file("releases/v1.2.3/rune", "#!/bin/sh\n");
    host.file("releases/v1.2.3/sums", "x\n");
    host.answers(0, &["releases", "--asset", "rune", "--sums", "sums"]);
    host.answers(0, &["releases", "--list"]);
    host.answers(1, &["releases", "--asset", "other"]);
    host.matches_its_page();
}

#[test]
fn verify_prints_what_its_page_says() {
    let mut host = Host::new("verify");
    fs::create_dir_all(host.path("usr/bin")).unwrap();
    for confining in ["setsid", "unshare", "setpriv", "timeout"] {
        symlink(Path::new("/usr/bin").join(confining), host.path(&format!("usr/bin/{confining}"))).unwrap();
    }
    let text = "#!/bin/sh\necho rune 1.0\n";
    let file = host.file("rune", text);
    let digest = Digest::of(text.as_bytes()).to_string();
    host.answers(0, &["--sha256", &digest, "--run", "--version", &file]);
    host.answers(1, &["--sha256", &"0".repeat(64), &file]);
    host.matches_its_page();
}

#[test]
fn unit_render_prints_what_its_page_says() {
    let mut host = Host::new("unit-render");
    fs::create_dir_all(host.path("usr/bin")).unwrap();
    for confining in ["setsid", "unshare", "setpriv", "timeout"] {
        symlink(Path::new("/usr/bin").join(confining), host.path(&format!("usr/bin/{confining}"))).unwrap();
    }
    let program = host.file("runed", "#!/bin/sh\nprintf '[Unit]\\nDescription=x\\n'\n");
    let template = host.file("template", "[Unit]\nDescription=x\n");
    host.answers(0, &["--template", &template]);
    host.answers(0, &["--", &program, "print-systemd"]);
    host.answers(0, &["--builtin", "timer", "--name", "x", "--calendar", "daily"]);
    host.answers(3, &["--template", "nowhere"]);
    host.matches_its_page();
}

#[test]
fn unit_diff_prints_what_its_page_says() {
    let mut host = Host::new("unit-diff");
    let show = "echo LoadState=loaded; echo FragmentPath=/a.service; echo DropInPaths=/b.conf";
    host.file("usr/bin/systemctl", &format!("#!/bin/sh\n{show}\n"));
    host.file("a.service", "[Service]\nUser=a\nExecStart=/bin/a --x=1\nNice=1\n");
    host.file("b.conf", "[Service]\nGroup=b\n");
    host.answers(1, &["known.service", "./b.conf"]);
    host.answers(1, &["./a.service", "known.service"]);
    host.file("c.service", "[Service]\nUser=c\nExecStart=/bin/a --x=2\nNice=1\nUMask=0\n");
    host.answers(1, &["./a.service", "./c.service"]);
    host.answers(3, &["./a.service", "./nowhere"]);
    host.answers(0, &["--drop-in", "--base", "known.service", "./a.service", "./b.conf"]);
    host.file("d.service", "[Service]\nExecStart=/bin/a --x=3\nNice=1\n");
    host.answers(1, &["--drop-in", "--base", "./d.service", "./a.service", "./c.service"]);
    host.matches_its_page();
}

#[test]
fn svc_wait_prints_what_its_page_says() {
    let mut host = Host::new("svc-wait");
    host.file("usr/bin/systemctl", "#!/bin/sh\necho LoadState=not-found\n");
    host.answers(1, &["runed", "--exec", "true", "--", "false"]);
    fs::remove_file(host.path("usr/bin/systemctl")).unwrap();
    host.answers(3, &["runed"]);
    host.matches_its_page();
}

#[test]
fn swapbin_prints_what_its_page_says() {
    let mut host = Host::new("swapbin");
    let new = host.file("new", "#!/bin/sh\n");
    host.answers(0, &["-n", &new, &host.path("runed")]);
    host.answers(0, &[&new, &host.path("runed")]);
    host.answers(1, &["--commit", "runed"]);
    host.matches_its_page();
}

#[test]
fn setcap_keep_prints_what_its_page_says() {
    let mut host = Host::new("setcap-keep");
    let file = host.file("runed", "x");
    host.answers(0, &["--save", &file]);
    host.answers(7, &[&file, "--", "sh", "-c", "exit 7"]);
    host.answers(0, &["-n", &file, "--", "true"]);
    host.answers(1, &["--restore"]);
    let start = "echo 'ExecStart={ path=/runed ; argv[]=/runed ; }'";
    let more = "echo LoadState=loaded; echo MainPID=7; echo User=7; echo NoNewPrivileges=no; echo CapabilityBoundingSet=cap_kill";
    host.file("usr/bin/systemctl", &format!("#!/bin/sh\n{start}; {more}\n"));
    let sets = "CapInh: 0\nCapPrm: 20\nCapEff: 20\nCapBnd: 20\nCapAmb: 0\n";
    host.file("proc/1/status", sets);
    host.file("proc/7/status", sets);
    host.answers(1, &["--explain", "runed"]);
    host.matches_its_page();
}

#[test]
fn rollback_prints_what_its_page_says() {
    let mut host = Host::new("rollback");
    let (first, second) = (host.file("first", "#!/bin/sh\n#1\n"), host.file("second", "#!/bin/sh\n#2\n"));
    let runed = host.file("bin/runed", "#!/bin/sh\n#0\n");
    host.answers(0, &["--list"]);
    host.answers(1, &["runed"]);
    host.first("swapbin", &[&first, &runed]);
    host.first("swapbin", &["--trial", &second, &runed]);
    // What only a chain with a store, a service and a capability leaves.
    let record = host.path("var/lib/upswap/runed/state.json");
    let before = fs::read_to_string(&record).unwrap();
    let mut more: Value = serde_json::from_str(&before).unwrap();
    more["failed"] = json!([{ "programs": {}, "version": "v0", "why": "crashed", "time": 0 }]);
    more["generations"][0]["files"][&runed]["capabilities"] = json!("cap_net_bind_service=ep");
    more["generations"][0]["files"][&runed]["origin"] = json!({ "schema": 1, "source": "", "version": "v0", "asset": "", "digest": Digest::of(b"").to_string(), "time": 0 });
    fs::write(&record, more.to_string()).unwrap();
    host.answers(0, &["--list", "runed"]);
    fs::write(&record, before).unwrap();
    host.answers(0, &["--current", "runed"]);
    host.answers(0, &["-n", "--pending"]);
    host.answers(0, &["--pending", "--boot"]);
    host.first("swapbin", &[&second, &runed]);
    host.answers(0, &["-n", "runed"]);
    host.answers(0, &[&runed]);
    host.answers(0, &[&runed]);
    host.answers(0, &["runed"]);
    let swap = format!("swapbin --unverified --name other {second} {}", host.path("bin/other"));
    host.answers(0, &["-n", "--guard", "other", "--", "true"]);
    host.answers(7, &["--guard", "other", "--", "sh", "-c", "exit 7"]);
    host.answers(5, &["--guard", "other", "--", "sh", "-c", &format!("{swap}; exit 7")]);
    host.answers(0, &["--guard", "other", "--", "sh", "-c", &swap]);
    host.answers(0, &["--prune"]);
    host.answers(0, &["--forget", "other"]);
    host.matches_its_page();
}
