//! The oracle: what our reading makes of each directive of each unit is what systemd itself answers for it.
//!
//! Asked is the bus (`GetAll`), whose values are what `systemctl show` prints; there the words of a command line and of
//! a list can still be told apart. The units are those of the host, and odd ones.

mod answers;
mod odd;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;

use base64::Engine as _;
use fs_err as fs;
use serde_json::Value;
use upswap::words::unit::file::File;
use upswap::words::unit::keys;
use upswap::words::unit::reading::Reading;

use crate::env::Env;
use answers::{Knowledge, Properties, Untold};

/// Keys that no property tells of: `[Install]` is read by systemctl and not by systemd.
const WITHOUT_A_PROPERTY: &[&str] =
    &["Install.Alias", "Install.Also", "Install.DefaultInstance", "Install.RequiredBy", "Install.WantedBy"];

/// Keys that become what the host has.
const OF_THE_HOST: &[&str] = &["Service.CPUAffinity", "Service.CoredumpFilter", "Service.LimitNICE"];

/// Keys that systemd ignores where they stand.
const IGNORED: &[&str] = &[
    "Service.:Nice",
    "Service.NotAKey",
    "Service.X-Key",
    "Unit.Nice",
    "Unknown.Nice",
    "X-Mine.Description",
    "X-Mine.Documentation",
    "X-Mine.Nice",
    "service.Nice",
];

/// A parser that is wrong: ours, after this was done to the file.
type Reader = fn(Vec<u8>) -> Vec<u8>;

/// What was asked of systemd.
struct Oracle {
    /// The files of the host, by path.
    files: BTreeMap<String, Vec<u8>>,
    /// What systemd says of each unit.
    units: BTreeMap<String, Properties>,
    knowledge: Knowledge,
}

/// What a comparison came to.
#[derive(Default)]
struct Tally {
    units: usize,
    compared: usize,
    keys: BTreeSet<String>,
    wrong: Vec<String>,
    untold: BTreeMap<Untold, BTreeMap<String, usize>>,
}

#[test]
fn our_reading_of_every_unit_is_systemds() {
    let oracle = Oracle::ask(&Env::boot());
    for bytes in oracle.files.values() {
        if let Ok(file) = File::parse(bytes.clone()) {
            let back: Vec<u8> = file.lines().flat_map(|line| line.bytes).copied().collect();
            assert!(file.bytes() == bytes && back == *bytes, "every byte comes back out");
        }
    }
    for (name, _) in odd::REFUSED {
        let path = format!("/etc/systemd/system/{name}");
        let state = oracle.units[*name]["LoadState"]["data"].as_str().unwrap_or_default();
        assert!(["error", "bad-setting"].contains(&state), "systemd took {name}: {state}");
        assert!(File::parse(oracle.files[&path].clone()).is_err(), "{name} is not refused");
    }
    let tally = oracle.compare(&|bytes| bytes);
    eprintln!(
        "{} files, {} units, {} directives of {} keys equal",
        oracle.files.len(),
        tally.units,
        tally.compared,
        tally.keys.len()
    );
    for (why, keys) in &tally.untold {
        let all: Vec<_> = keys.iter().map(|(key, count)| format!("{key} {count}")).collect();
        eprintln!("{why:?}: {}", all.join(", "));
    }
    assert!(tally.wrong.is_empty(), "{} differ:\n{}", tally.wrong.len(), tally.wrong.join("\n"));
    for (why, expected) in
        [(Untold::NoProperty, WITHOUT_A_PROPERTY), (Untold::Ignored, IGNORED), (Untold::Host, OF_THE_HOST)]
    {
        let passed_over: Vec<_> = tally.untold.get(&why).into_iter().flat_map(BTreeMap::keys).collect();
        assert_eq!(passed_over, expected, "{why:?}: nothing else is passed over");
    }
    assert!(oracle.files.len() >= 150 && tally.units >= 150, "{} files, {} units", oracle.files.len(), tally.units);
    assert!(tally.compared >= 1800 && tally.keys.len() >= 200, "{} of {} keys", tally.compared, tally.keys.len());
}

#[test]
fn every_key_that_systemd_reads_is_known() {
    let host = Env::boot();
    let items = host.run("/lib/systemd/systemd --dump-configuration-items").success();
    let keys: BTreeSet<_> =
        items.stdout().lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
    let unknown: Vec<_> = keys.iter().filter(|key| !keys::is_known(key)).collect();
    assert!(unknown.is_empty() && keys.len() > 400, "{} keys, unknown: {unknown:?}", keys.len());
}

/// The same comparison over readers that are wrong in one thing each must find it.
#[test]
fn a_reader_that_is_wrong_is_found() {
    let oracle = Oracle::ask(&Env::boot());
    let readers: [(&str, Reader); 8] = [
        ("resets are not seen", |bytes| lines(&bytes, |line| !line.ends_with('='))),
        ("an empty value that is ignored is a reset", |bytes| replaced(&bytes, "\nRestart=\n", "\nRestart=no\n")),
        ("TimeoutSec is one setting", |bytes| replaced(&bytes, "\nTimeoutSec=", "\nTimeoutStartSec=")),
        ("a comment ends a continuation", |bytes| {
            String::from_utf8_lossy(&bytes).replace("\\\n#", "\\\n\n#").replace("\\\n  #", "\\\n\n  #").into_bytes()
        }),
        ("a continuation begins a new line", |bytes| replaced(&bytes, "\\\n", "\n")),
        ("quotes are characters", |bytes| String::from_utf8_lossy(&bytes).replace(['"', '\''], "").into_bytes()),
        ("a NUL ends nothing", |bytes| bytes.into_iter().filter(|b| *b != 0).collect()),
        ("sections of others are not seen", |bytes| lines(&bytes, |line| !line.starts_with("[X-"))),
    ];
    for (what, reader) in readers {
        let wrong = oracle.compare(&reader).wrong;
        assert!(!wrong.is_empty(), "nobody notices when {what}");
    }
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(bytes).replace(from, to).into_bytes()
}

/// Those lines of a text that are to stay.
fn lines(bytes: &[u8], stays: impl Fn(&str) -> bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter(|line| stays(line)).fold(String::new(), |all, line| all + line + "\n").into_bytes()
}

impl Oracle {
    /// Puts the odd units on the host, and asks systemd for all that there are.
    fn ask(host: &Env) -> Self {
        let odd = tempfile::tempdir().unwrap();
        for (path, bytes) in odd::UNITS.iter().chain(odd::REFUSED) {
            let path = odd.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        host.copy(odd.path(), "/etc/systemd/system");
        // The units of the user manager are units too, and none of the image is to stay hidden.
        host.run(
            "find /etc/systemd/system -maxdepth 1 -lname /dev/null -delete
            for unit in $(find /usr/lib/systemd/user -maxdepth 1 -type f); do
                cp $unit /etc/systemd/system/users-${unit##*/}
            done
            systemctl daemon-reload",
        )
        .success();
        let archive =
            host.run("cd / && tar -cf - $(find usr/lib/systemd/system etc/systemd/system -type f) | base64 -w 0");
        let files = unpacked(archive.success().stdout());
        let names: Vec<_> = files.keys().filter_map(|path| unit_of(path)).collect();
        let units = properties(host, &names);
        let groups = host.run("systemd-analyze syscall-filter --no-pager").success();
        let calendars = host.run(
            "sed -n 's/^OnCalendar=\\(.*[^ ]\\) *$/\\1/p' /usr/lib/systemd/system/*.timer /etc/systemd/system/*.timer | sort -u |
            while read -r at; do printf '%s\\t' \"$at\"; systemd-analyze calendar \"$at\" | sed -n 's/.*Normalized form: //p'; done",
        );
        let knowledge = Knowledge::new(groups.stdout(), calendars.success().stdout(), &units);
        Self { files, units, knowledge }
    }

    /// Reads every unit from its files, each passed through `reader` first, and compares.
    fn compare(&self, reader: &dyn Fn(Vec<u8>) -> Vec<u8>) -> Tally {
        let mut tally = Tally::default();
        for (name, properties) in &self.units {
            if odd::REFUSED.iter().any(|(refused, _)| refused == name) {
                continue;
            }
            let text = |key: &str| properties[key]["data"].clone();
            let drop_ins = text("DropInPaths");
            let paths = [text("FragmentPath")].into_iter().chain(drop_ins.as_array().cloned().unwrap_or_default());
            let read = paths.map(|path| {
                let path = path.as_str().unwrap_or_default().to_owned();
                // On a host where /lib is /usr/lib systemd says either.
                let path = if path.starts_with("/lib/") { format!("/usr{path}") } else { path };
                let bytes = self
                    .files
                    .get(&path)
                    .unwrap_or_else(|| panic!("{name}: systemd read '{path}', and it is not here"));
                File::parse(reader(bytes.clone()))
            });
            match read.collect::<Result<Vec<_>, _>>() {
                Ok(files) => self.compare_one(name, &files, properties, &mut tally),
                Err(e) => tally.wrong.push(format!("{name}: {e}")),
            }
        }
        tally
    }

    fn compare_one(&self, name: &str, files: &[File], properties: &Properties, tally: &mut Tally) {
        let reading = Reading::of(files);
        let assigned: BTreeSet<_> =
            files.iter().flat_map(File::assignments).flat_map(|a| keys::settings(a.section, a.key)).collect();
        tally.units += 1;
        for (section, key) in assigned {
            let full = format!("{section}.{key}");
            match answers::expected(name, (section, key), &reading, properties, &self.knowledge) {
                Ok(expected) => {
                    for (property, told, wanted) in expected {
                        tally.compared += 1;
                        tally.keys.insert(full.clone());
                        if !wanted.fits(&told) {
                            tally.wrong.push(format!("{name}: {full}: we read {wanted}, {property} is {told}"));
                        }
                    }
                }
                Err(why) => *tally.untold.entry(why).or_default().entry(full).or_default() += 1,
            }
        }
    }
}

/// The files of an archive, by absolute path.
fn unpacked(archive: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(archive).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (format!("/{}", entry.path().unwrap().display()), bytes)
    });
    files.collect()
}

/// The unit that a file is for; of a template, an instance. A drop-in and what it stands for are none.
fn unit_of(path: &str) -> Option<String> {
    const KINDS: [&str; 10] =
        ["service", "socket", "target", "timer", "path", "mount", "automount", "slice", "swap", "scope"];
    let name = path.rsplit('/').next()?;
    let (stem, kind) = name.rsplit_once('.')?;
    let instance = if stem.ends_with('@') { format!("{stem}oracle.{kind}") } else { name.to_owned() };
    KINDS.contains(&kind).then_some(instance)
}

/// All properties of all `names`, by unit.
fn properties(host: &Env, names: &[String]) -> BTreeMap<String, Properties> {
    // The path of a unit on the bus: all but letters and digits is _ and two hexadecimal digits.
    let encoded = |name: &str| {
        name.bytes().fold(String::new(), |mut path, b| {
            let _ = if b.is_ascii_alphanumeric() { write!(path, "{}", b as char) } else { write!(path, "_{b:02x}") };
            path
        })
    };
    let list: String = names.iter().flat_map(|name| [name.clone(), " ".into(), encoded(name), "\n".into()]).collect();
    let script = format!(
        "while read -r name path; do
            printf '%s\\t' \"$name\"
            busctl --json=short call org.freedesktop.systemd1 \"/org/freedesktop/systemd1/unit/$path\" \
                org.freedesktop.DBus.Properties GetAll s ''
        done <<'END'\n{list}END"
    );
    let told = host.run(&script).success();
    let units: BTreeMap<_, _> = told
        .stdout()
        .lines()
        .map(|line| {
            let (name, json) = line.split_once('\t').unwrap();
            let value: Value = serde_json::from_str(json).unwrap();
            let all = value["data"][0].as_object().unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), all.clone().into_iter().collect::<Properties>())
        })
        .collect();
    assert_eq!(units.len(), names.iter().collect::<BTreeSet<_>>().len(), "every unit was asked for");
    units
}
