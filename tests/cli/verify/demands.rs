//! The floor and the policy: what is not taken though its evidence holds.

use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;

use super::{Bench, minisign, sha256};
use fs_err as fs;

/// A signer that signed nothing here.
const OTHER: &str = "SIGNER=minisign:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

impl Bench {
    /// A listed script with the record that fetch would leave beside it.
    fn fetched(&self, version: &str) {
        let path = self.listed("f", format!("#!/bin/sh\n# {version}\n").as_bytes());
        let record = json!({
            "schema": 1, "source": "gh:o/r", "version": version, "published": 1_700_000_000, "asset": "f",
            "digest": sha256(&path), "time": 1_700_000_000,
        });
        self.file("f.origin.json", record.to_string());
    }

    fn floor(&self, text: &str) {
        let folder = self.dir.path().join("host/var/lib/upswap/runed");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("floor"), text).unwrap();
    }
}

/// Row 38: an older version than was proven healthy here.
#[test]
fn nothing_below_the_floor_is_taken() {
    let bench = Bench::new();
    bench.fetched("v2.0.0");
    assert_eq!(bench.run(&["--floor", "runed", "f"]).0, 0, "nothing was proven yet");
    for (floor, code) in [("v1.9.9\n", 0), ("v2.0.0", 0), ("v2.0.0-rc.1\n", 0), ("v2.0.1-rc.1\n", 1), ("v10\n", 1)] {
        bench.floor(floor);
        for check in [vec![], vec!["--check"]] {
            let (got, stdout, stderr) = bench.run(&[&check[..], &["--floor", "runed", "f"]].concat());
            assert_eq!((got, stdout.is_empty()), (code, code != 0), "{floor} {stderr}");
        }
    }
    let (_, _, stderr) = bench.run(&["--floor", "runed", "f"]);
    let line = "verify: f: it is v2.0.0, and v10 was proven healthy here (DIR/host/var/lib/upswap/runed/floor); \
                for an older one all the same lower the floor: echo VERSION >DIR/host/var/lib/upswap/runed/floor\n";
    assert!(stderr.ends_with(line), "{stderr}");
    fs::remove_file(bench.path("f.origin.json")).unwrap();
    let (code, _, stderr) = bench.run(&["--floor", "runed", "f"]);
    assert!(code == 1 && stderr.contains("its version is not known, and v10 was proven healthy here"), "{stderr}");
    assert_eq!(bench.store().len(), 2, "the file and its record, from when it was taken");
}

/// Row 39: no version in it, or anybody could have written it.
#[test]
fn a_floor_that_was_named_and_is_not_there_lets_nothing_through() {
    let bench = Bench::new();
    bench.fetched("v2.0.0");
    for (floor, code) in [("./flor", 3), ("", 2), ("..", 2), ("run ed", 2), ("runed", 0)] {
        let (got, stdout, stderr) = bench.run(&["--check", "--floor", floor, "f"]);
        assert_eq!((got, stdout.is_empty()), (code, code != 0), "{floor:?}: {stderr}");
    }
}

/// Whoever can write the record beside a file could name any version and any date.
#[test]
fn what_others_say_of_the_version_counts_only_when_it_is_proven() {
    const EVE: u32 = 4711;
    let bench = Bench::new();
    bench.fetched("v999.0.0");
    bench.floor("v1.0.0\n");
    let record = bench.path("f.origin.json");
    let store = || -> serde_json::Value {
        let path = bench.store().into_iter().find(|path| path.ends_with(".origin.json")).unwrap();
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    chown(&record, Some(EVE), None).unwrap();
    let (code, _, stderr) = bench.run(&["--floor", "runed", "f"]);
    assert!(code == 1 && stderr.contains("its version is not known"), "{stderr}");
    assert!(stderr.contains("its version counts only where it is proven: it belongs to somebody else"), "{stderr}");
    bench.file("policy", "MIN_AGE=1d");
    let (code, _, stderr) = bench.run(&["--check", "--policy", "policy", "f"]);
    assert!(code == 1 && stderr.contains("its age is not known"), "{stderr}");
    assert_eq!(bench.run(&["f"]).0, 0);
    assert_eq!((&store()["version"], &store()["source"]), (&json!(null), &json!("gh:o/r")));
    // The program says it itself.
    bench.file("SHA256SUMS", "");
    bench.listed("f", b"#!/bin/sh\necho v999.0.0\n");
    let digest = sha256(&bench.path("f"));
    let of = |version: &str| json!({"schema": 1, "source": "x", "version": version, "asset": "f", "digest": digest, "time": 1});
    fs::write(&record, of("v999.0.0").to_string()).unwrap();
    fs::remove_dir_all(bench.dir.path().join("host/var/cache/upswap/store")).unwrap();
    let (code, _, stderr) = bench.run(&["--floor", "runed", "--run", "--version", "f"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(store()["version"], json!("v999.0.0"));
    // In a folder that all can write to, whoever owns the record.
    chown(&record, Some(0), None).unwrap();
    assert_eq!(bench.run(&["--check", "--floor", "runed", "f"]).0, 0);
    fs::set_permissions(bench.path(""), PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(bench.run(&["--check", "--floor", "runed", "f"]).0, 1);
    // A record that nobody ends to write, and one that is a way to a secret.
    fs::set_permissions(bench.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_file(&record).unwrap();
    nix::unistd::mkfifo(&record, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (code, _, stderr) = bench.run(&["--check", "f"]);
    assert!(code == 0 && stderr.contains("not a regular file; left aside"), "{stderr}");
}

#[test]
fn a_floor_that_says_nothing_lets_nothing_through() {
    let bench = Bench::new();
    bench.fetched("v2.0.0");
    for floor in ["", "\n", "latest\n", "v1\nv2\n", "\0"] {
        bench.floor(floor);
        let (code, stdout, stderr) = bench.run(&["--floor", "runed", "f"]);
        assert_eq!((code, stdout.as_str()), (3, ""), "{floor:?}: {stderr}");
    }
    bench.floor("v1");
    let floor = bench.dir.path().join("host/var/lib/upswap/runed/floor");
    fs::set_permissions(&floor, PermissionsExt::from_mode(0o666)).unwrap();
    let (code, _, stderr) = bench.run(&["--floor", "runed", "f"]);
    assert!(code == 3 && stderr.contains("others can write it"), "{stderr}");
    assert_eq!(bench.store().len(), 0);
}

#[test]
fn what_does_not_meet_the_policy_is_refused_by_its_demand() {
    let bench = Bench::new();
    bench.fetched("v2.0.0");
    minisign(&bench.path(""), &["-GWf", "-p", "k.pub", "-s", "k.key"]);
    minisign(&bench.path(""), &["-Sm", "SHA256SUMS", "-s", "k.key"]);
    let signed = ["--minisign", "./k.pub"];
    let key = fs::read_to_string(bench.path("k.pub")).unwrap().lines().nth(1).unwrap().to_owned();
    let pinned = format!("SIGNER=minisign:{key}");
    for (policy, arguments, answer) in [
        ("REQUIRE=sums", &[][..], "ok"),
        ("REQUIRE=signature", &[], "signature is not proven (REQUIRE)"),
        ("REQUIRE=signature", &signed, "ok"),
        (
            "REQUIRE=version",
            &signed,
            "version is not proven (REQUIRE); have the program say it: --run --version, RUN in a profile",
        ),
        (&pinned, &[], "nobody signed it (SIGNER)"),
        (&pinned, &signed, "ok"),
        (OTHER, &signed, "who may not sign (SIGNER)"),
        ("FLOOR=3.0", &signed, "it is v2.0.0, and nothing below 3.0 is taken (FLOOR)"),
        ("MIN_AGE=1d", &[], "ok"),
        ("MIN_AGE=1d", &signed, "must be 1day (MIN_AGE)"),
        ("MAX_AGE=1d", &[], "no signature says when it was made"),
        ("MAX_AGE=1d", &signed, "ok"),
        ("HOSTS=example.com", &[], "ok"),
    ] {
        bench.file("policy", policy);
        let (code, stdout, stderr) = bench.run(&[&["--check", "--policy", "policy"], arguments, &["f"]].concat());
        match answer {
            "ok" => assert_eq!((code, stdout.as_str()), (0, "f\n"), "{policy}: {stderr}"),
            why => {
                assert_eq!((code, stdout.as_str()), (1, ""), "{policy}: {stderr}");
                assert!(stderr.contains("f: refused by policy: ") && stderr.contains(why), "{policy}: {stderr}");
            }
        }
    }
}

#[test]
fn a_policy_that_is_no_good_lets_nothing_through() {
    let bench = Bench::new();
    bench.fetched("v2.0.0");
    let refused = |why: &str| {
        let (code, stdout, stderr) = bench.run(&["--policy", "policy", "f"]);
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    };
    refused("policy: there is no such policy");
    for (text, why) in [
        ("", "demands nothing"),
        ("REQUIRE=sums\nFLOR=1\n", "line 2: 'FLOR' is no key"),
        ("HOSTS=\"example.com h.test:8443\"\n", "line 1: 'h.test:8443' is no host"),
        ("HOSTS=https://h.test\n", "line 1: 'https://h.test' is no host"),
    ] {
        bench.file("policy", text);
        refused(why);
    }
    bench.file("policy", "REQUIRE=sums\n");
    fs::set_permissions(bench.path("policy"), PermissionsExt::from_mode(0o664)).unwrap();
    refused("others can write it; mend that: chmod go-w");
    fs::set_permissions(bench.path("policy"), PermissionsExt::from_mode(0o644)).unwrap();
    chown(bench.path("policy"), Some(4711), None).unwrap();
    refused("belongs to somebody else; mend that: chown root");
    chown(bench.path("policy"), Some(0), None).unwrap();
    fs::set_permissions(bench.path(""), PermissionsExt::from_mode(0o777)).unwrap();
    refused("everybody can write to the folder");
    assert_eq!(bench.store().len(), 0);
}
