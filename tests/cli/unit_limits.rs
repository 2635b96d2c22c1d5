//! unit-diff and unit-render over what is no unit, or far too much of one: a clear word or a result, soon, in little memory.

use std::path::Path;
use std::process::Command;

use fs_err as fs;

use crate::material;

/// As much memory may a process need, in KiB (getrusage(2)).
const MEMORY: u64 = 64 << 10;
/// As much time of a processor, in microseconds. Other tests run at the same time, so a clock on the wall says nothing.
const PROCESSOR: u64 = if cfg!(debug_assertions) { 8_000_000 } else { 1_000_000 };

/// What a process took and how it ended.
struct Run {
    code: i32,
    stderr: String,
    processor: u64,
    memory: u64,
}

impl Run {
    /// Runs `command` in `dir`, its standard input that file.
    fn of(dir: &Path, stdin: &Path, command: &[&str]) -> Self {
        let out = dir.join("measured");
        let mut measured = Command::new(material::program("measured"));
        measured.arg(&out).args(["sh", "-c", "\"$@\" >answer 2>said; echo $? >code", "sh"]).args(command);
        measured.current_dir(dir).stdin(fs::File::open(stdin).unwrap().into_parts().0);
        assert!(measured.status().unwrap().success(), "{command:?}");
        let line = fs::read_to_string(&out).unwrap();
        fs::remove_file(&out).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        Self {
            code: fs::read_to_string(dir.join("code")).unwrap().trim().parse().unwrap(),
            stderr: fs::read_to_string(dir.join("said")).unwrap(),
            processor: numbers[1],
            memory: numbers[2],
        }
    }

    /// What is wrong with it.
    fn wrong(&self, codes: &[i32]) -> Vec<String> {
        let mut wrong = Vec::new();
        if !codes.contains(&self.code) {
            wrong.push(format!("ended with {}: {}", self.code, self.stderr));
        }
        if self.code == 3 && self.stderr.lines().count() != 1 {
            wrong.push(format!("said {:?}", self.stderr));
        }
        if self.memory > MEMORY {
            wrong.push(format!("needed {} KiB", self.memory));
        }
        if self.processor > PROCESSOR {
            wrong.push(format!("took {} microseconds", self.processor));
        }
        wrong
    }
}

/// What a unit may be that none is, and how a tool ends that reads it: 0 and 1 are results.
fn cases(dir: &Path) -> Vec<(&'static str, &'static [i32])> {
    const REFUSED: &[i32] = &[3];
    const READ: &[i32] = &[0, 1];
    const EITHER: &[i32] = &[0, 1, 3];
    let lines = |line: &dyn Fn(u32) -> String| "[Service]\n".to_owned() + &(0..100_000).map(line).collect::<String>();
    let mut seed = 1_u64;
    let garbage: Vec<u8> = (0..1 << 20)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_le_bytes()[7]
        })
        .collect();
    let write = |name: &'static str, bytes: &[u8], codes| {
        fs::write(dir.join(name), bytes).unwrap();
        (name, codes)
    };
    fs::create_dir(dir.join("folder")).unwrap();
    fs::File::create(dir.join("huge")).unwrap().set_len(2 << 30).unwrap();
    let rest = |text: &str, from: usize| text.as_bytes().repeat((1 << 20) / text.len() - from);
    vec![
        ("folder", REFUSED),
        ("huge", REFUSED),
        ("/dev/zero", REFUSED),
        write("garbage", &garbage, REFUSED),
        write("program", &fs::read("/bin/true").unwrap(), REFUSED),
        // To systemd a NUL ends a line; unit-render takes none into a unit.
        write("zeros", &vec![0; 1 << 20], EITHER),
        write("nuls", &lines(&|n| format!("E{n}=1\0")).into_bytes(), EITHER),
        write("keys", lines(&|n| format!("K{n}=1\n")).as_bytes(), READ),
        write("one key", lines(&|n| format!("K={n}\n")).as_bytes(), READ),
        write("lines", &[b"[Service]\n".to_vec(), rest("K=1\n", 3)].concat(), READ),
        write("sections", lines(&|n| format!("[S{}]\n", n % 1000)).as_bytes(), EITHER),
        write(
            "variables",
            lines(&|n| if n < 50_000 { format!("Environment=A{n}=1\n") } else { String::new() }).as_bytes(),
            EITHER,
        ),
        write(
            "continued",
            (lines(&|n| if n == 0 { "ExecStart=/a \\\n".into() } else { "-b \\\n".into() }) + "c").as_bytes(),
            READ,
        ),
        write("comments", lines(&|_| "# c\n".into()).as_bytes(), EITHER),
        write("empty lines", &rest("\n", 0), EITHER),
        write("ignored", &rest("x\n", 0), EITHER),
        write("resets", &[b"[Unit]\n".to_vec(), rest("ConditionHost=\n", 1)].concat(), EITHER),
    ]
}

/// Runs a tool in each of `ways` over every case, `CASE` in their place.
fn tried(tool: &str, ways: &[&[&str]], also: &[i32]) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good"), "[Service]\nExecStart=/a\n").unwrap();
    let tool = material::tools().join(tool).display().to_string();
    let mut wrong = Vec::new();
    for (case, codes) in cases(dir.path()) {
        let path = if case.starts_with('/') { case.to_owned() } else { format!("./{case}") };
        for way in ways {
            let piped = way.contains(&"-");
            if piped && !["huge", "garbage"].contains(&case) {
                continue;
            }
            let stdin = if piped { dir.path().join(case) } else { "/dev/null".into() };
            let words = way.iter().map(|word| if *word == "CASE" { path.as_str() } else { *word });
            let run: Vec<_> = [tool.as_str(), "-q"].into_iter().chain(words).collect();
            let ran = Run::of(dir.path(), &stdin, &run);
            let codes = [codes, also].concat();
            wrong.extend(ran.wrong(&codes).into_iter().map(|what| format!("{run:?}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_units_are_compared_in_little_time_and_memory() {
    tried(
        "unit-diff",
        &[&["CASE", "./good"], &["--json", "./good", "CASE"], &["--json", "CASE", "CASE"], &["./good", "-"]],
        &[],
    );
}

#[test]
fn hostile_units_are_rendered_in_little_time_and_memory() {
    // What sets nothing is no unit to render, and what is no service no unit to be like.
    tried(
        "unit-render",
        &[&["--template", "CASE"], &["--like", "CASE", "--", "/bin/echo", "[Service]\nType=oneshot"]],
        &[3],
    );
}

/// What measures must see memory, time and exit codes.
#[test]
fn a_run_that_takes_too_much_is_found() {
    let dir = tempfile::tempdir().unwrap();
    // tail(1) keeps a whole line.
    let greedy = Run::of(
        dir.path(),
        Path::new("/dev/null"),
        &["sh", "-c", "head -c 100000000 /dev/zero | tail -n 1 >/dev/null"],
    );
    assert_eq!(greedy.wrong(&[0]), [format!("needed {} KiB", greedy.memory)]);
    let busy = Run::of(
        dir.path(),
        Path::new("/dev/null"),
        &["sh", "-c", "head -c 300000000 /dev/zero | sha256sum >/dev/null; exit 3"],
    );
    assert!(busy.processor > 10_000, "{} microseconds", busy.processor);
    assert_eq!(busy.wrong(&[0]).len(), 2, "the code, and nothing said");
    assert_eq!(Run { processor: PROCESSOR + 1, ..busy }.wrong(&[0]).len(), 3);
}
