//! SSH and OpenPGP signatures by the real programs; what each signature is bound to; every bit of a small one.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use super::{Bench, minisign, sha256};
use fs_err as fs;
use upswap::steps::artifact::evidence::{Evidence, Given, KeyPlace, SshSigners, Statement, Subject};
use upswap::sys::Host;
use upswap::words::statement::By;

impl Bench {
    /// A bench with a listed script `f`.
    fn with_script() -> Self {
        let bench = Self::new();
        bench.listed("f", b"#!/bin/sh\n");
        bench
    }

    fn check(&self, arguments: &[&str]) -> (i32, String) {
        let (code, stdout, stderr) = self.ran(self.verify().arg("--check").args(arguments));
        assert_eq!(stdout.is_empty(), code != 0, "{stderr}");
        (code, stderr)
    }

    /// Refused with this code and in one line that holds this.
    fn refuses(&self, code: i32, words: &str, arguments: &[&str]) {
        let (got, stderr) = self.check(arguments);
        assert_eq!((got, stderr.lines().count()), (code, 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }

    /// Runs a program that signs, in the folder of the files.
    fn sign(&self, program: &str, arguments: &[&str]) {
        let mut run = Program::new(program);
        run.current_dir(self.path("")).args(arguments).stdin(Stdio::null()).env("GNUPGHOME", self.path("gnupg"));
        let output = run.output().unwrap_or_else(|e| panic!("these tests need {program} (scripts/deps test): {e}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `gpg` for the key of `user`, with a small key of its own when there is none.
    pub(super) fn gpg(&self, arguments: &[&str]) {
        if !self.path("gnupg").exists() {
            fs::create_dir(self.path("gnupg")).unwrap();
            fs::set_permissions(self.path("gnupg"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        self.sign(
            "gpg",
            &[&["--batch", "--yes", "-q", "--passphrase", "", "--pinentry-mode", "loopback"], arguments].concat(),
        );
    }

    pub(super) fn gpg_key(&self, user: &str) {
        self.gpg(&["--quick-gen-key", user, "ed25519", "sign", "never"]);
        self.gpg(&["-o", &format!("{user}.gpg"), "--export", user]);
    }

    fn fingerprint(&self, user: &str) -> String {
        let run = Program::new("gpg").args(["--with-colons", "-k", user]).env("GNUPGHOME", self.path("gnupg")).output();
        let said = String::from_utf8(run.unwrap().stdout).unwrap();
        said.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned()
    }

    fn ssh_key(&self, name: &str, options: &[&str]) {
        self.sign("ssh-keygen", &[&["-q", "-N", "", "-C", name, "-f", name], options].concat());
    }

    fn public(&self, name: &str) -> String {
        let line = fs::read_to_string(self.path(format!("{name}.pub"))).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    fn ssh_sign(&self, key: &str, namespace: &str, file: &str) {
        let _ = fs::remove_file(self.path(format!("{file}.sig")));
        self.sign("ssh-keygen", &["-q", "-Y", "sign", "-n", namespace, "-f", key, file]);
    }

    /// What holds of the file `f` of this bench, judged without a process of verify's own.
    fn judged(&self, given: Given) -> Option<Vec<Statement>> {
        let file = self.path("f");
        let subject = Subject { place: &file, name: "f".as_ref() };
        let judge = Evidence::given(given).unwrap();
        let host = Host::below(Path::new("/"));
        let (bytes, copy) = (fs::File::open(&file).unwrap(), tempfile::tempfile().unwrap());
        Some(judge.judge(&host).ok()?.prove(subject, bytes, copy, 1 << 20).unwrap().ok()?.1.statements)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // gpg leaves its agent behind.
        if self.path("gnupg").exists() {
            let mut end = Program::new("gpgconf");
            let _ = end.args(["--kill", "all"]).env("GNUPGHOME", self.path("gnupg")).output();
        }
    }
}

#[test]
fn ssh_signatures_of_every_kind_of_key_hold_for_those_who_may_sign() {
    let bench = Bench::with_script();
    let mut allowed = String::from("# who may sign\n");
    let kinds: [(&str, &[&str]); 4] = [
        ("ed25519", &["-t", "ed25519"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ];
    for (name, options) in kinds {
        bench.ssh_key(name, options);
        writeln!(allowed, "{name}@x,all@x {}", bench.public(name)).unwrap();
    }
    bench.file("allowed", &allowed);
    for (name, _) in kinds {
        for of in ["f", "SHA256SUMS"] {
            bench.ssh_sign(name, "file", of);
            let list: &[&str] = if of == "f" { &[] } else { &["--sums", "SHA256SUMS"] };
            for signer in [format!("{name}@x"), "ssh:all@x".to_owned()] {
                let (code, said) = bench.check(&[list, &["--ssh", "allowed", "--signer", &signer, "f"]].concat());
                assert_eq!(code, 0, "{said}");
                assert!(said.contains("f: authentic: ssh SHA256:"), "{said}");
                assert!(said.contains(&format!(" ({name}@x,all@x) over {of}")), "{said}");
            }
        }
    }
    bench.refuses(
        1,
        "(rsa@x,all@x), and p256@x is wanted (--signer)",
        &["--ssh", "allowed", "--signer", "p256@x", "f"],
    );
    assert_eq!(bench.check(&["--ssh", "allowed", "--signer", "p256@x", "--signer", "rsa@x", "f"]).0, 0, "any of them");
}

/// Rows 35 and 36: as above, for SSH.
#[test]
fn what_no_ssh_signature_proves_is_refused_by_name() {
    let bench = Bench::with_script();
    bench.ssh_key("k", &["-t", "ed25519"]);
    bench.ssh_key("other", &["-t", "ed25519"]);
    bench.ssh_key("p521", &["-t", "ecdsa", "-b", "521"]);
    let (key, other) = (bench.public("k"), bench.public("other"));
    bench.file("allowed", format!("a@x {key}\np@x {}\n", bench.public("p521")));
    bench.refuses(1, "f.sig: there is no such signature", &["--ssh", "allowed", "f"]);
    bench.ssh_sign("k", "file", "f");
    assert_eq!(bench.check(&["--ssh", "allowed", "f"]).0, 0);
    bench.refuses(1, "there is no such file of allowed signers", &["--ssh", "./none", "f"]);
    for (file, code, words) in [
        (format!("a@x {other}\n"), 1, "its key is not among the allowed signers"),
        (format!("a@x namespaces=\"git\" {key}\n"), 1, "not allowed for this namespace"),
        (format!("a@x valid-before=\"20200101Z\" {key}\n"), 1, "not allowed at this time"),
        (format!("a@x valid-after=\"29990101Z\" {key}\n"), 1, "not allowed at this time"),
        (format!("a@x cert-authority {key}\n"), 3, "cert-authority is not taken here"),
        (String::new(), 3, "no key may sign"),
    ] {
        bench.file("strict", file);
        bench.refuses(code, words, &["--ssh", "strict", "f"]);
    }
    bench.refuses(1, "for the namespace 'file', 'git' is wanted", &["--ssh", "allowed", "--ssh-namespace", "git", "f"]);
    bench.ssh_sign("k", "git", "f");
    bench.refuses(1, "for the namespace 'git', 'file' is wanted", &["--ssh", "allowed", "f"]);
    bench.ssh_sign("p521", "file", "f");
    bench.refuses(3, "ecdsa-sha2-nistp521 is not taken here", &["--ssh", "allowed", "f"]);
    bench.file("g", "#!/bin/bash\n");
    bench.ssh_sign("k", "file", "g");
    bench.refuses(1, "it does not fit the bytes", &["--ssh", "allowed", "--sig", "g.sig", "f"]);
    bench.file("f.sig", fs::read(bench.path("k.pub")).unwrap());
    bench.refuses(3, "not an SSH signature", &["--ssh", "allowed", "f"]);
    // A list that was changed after it was signed is not even read.
    bench.ssh_sign("k", "file", "SHA256SUMS");
    assert_eq!(bench.check(&["--sums", "SHA256SUMS", "--ssh", "allowed", "f"]).0, 0);
    bench.list("this line would be malformed\n");
    bench.refuses(1, "it does not fit the bytes", &["--sums", "SHA256SUMS", "--ssh", "allowed", "f"]);
}

#[test]
fn openpgp_signatures_hold_by_the_keys_of_the_keyring() {
    let bench = Bench::with_script();
    bench.gpg_key("rel");
    let key = bench.fingerprint("rel");
    bench.gpg(&["--armor", "-o", "rel.asc", "--export", "rel"]);
    bench.gpg(&["-o", "f.sig", "--detach-sign", "f"]);
    bench.gpg(&["--armor", "-o", "SHA256SUMS.asc", "--detach-sign", "SHA256SUMS"]);
    for keyring in ["rel.gpg", "rel.asc"] {
        for (list, over) in [(&[][..], "f"), (&["--sums", "SHA256SUMS"], "SHA256SUMS")] {
            let (code, said) = bench.check(&[list, &["--gpg", keyring, "--signer", &key, "f"]].concat());
            assert_eq!((code, said.contains(&format!("authentic: openpgp {key} over {over}"))), (0, true), "{said}");
        }
    }
    assert!(!bench.dir.path().join("host/var").exists() || bench.store().is_empty(), "--check stores nothing");

    // A release key with a subkey that signs: named by either fingerprint, told by the primary one.
    bench.gpg(&["--quick-gen-key", "sub", "ed25519", "cert", "never"]);
    let primary = bench.fingerprint("sub");
    bench.gpg(&["--quick-add-key", &primary, "ed25519", "sign", "never"]);
    bench.gpg(&["-o", "sub.gpg", "--export", "sub"]);
    bench.gpg(&["-u", "sub", "-o", "f.sig", "--detach-sign", "f"]);
    let (code, said) = bench.check(&["--gpg", "sub.gpg", "--signer", &format!("openpgp:{primary}"), "f"]);
    assert_eq!((code, said.contains(&format!("openpgp {primary} (subkey "))), (0, true), "{said}");
    bench.refuses(1, "and openpgp:", &["--gpg", "sub.gpg", "--signer", &format!("openpgp:{key}"), "f"]);
    bench.refuses(2, "names no signer", &["--gpg", "sub.gpg", "--signer", "openpgp:DEADBEEF", "f"]);
}

/// Rows 35 and 36: as above, for OpenPGP.
#[test]
fn what_no_openpgp_signature_proves_is_refused_by_name() {
    let bench = Bench::with_script();
    bench.gpg_key("rel");
    bench.gpg_key("other");
    bench.refuses(1, "f.asc: there is no such signature", &["--gpg", "rel.gpg", "f"]);
    let signed = |options: &[&str]| bench.gpg(&[options, &["-o", "f.sig", "--detach-sign", "f"]].concat());
    signed(&["-u", "rel"]);
    assert_eq!(bench.check(&["--gpg", "rel.gpg", "f"]).0, 0);
    bench.refuses(1, "it is not in the keyring", &["--gpg", "other.gpg", "f"]);
    signed(&["-u", "rel", "-u", "other"]);
    bench.refuses(1, "it is not in the keyring", &["--gpg", "rel.gpg", "f"]);
    bench.file(
        "both.gpg",
        [fs::read(bench.path("rel.gpg")).unwrap(), fs::read(bench.path("other.gpg")).unwrap()].concat(),
    );
    assert_eq!(bench.check(&["--gpg", "both.gpg", "f"]).0, 0, "two signatures, both good");
    signed(&["-u", "rel", "--digest-algo", "SHA1"]);
    bench.refuses(1, "SHA-1, which proves nothing", &["--gpg", "rel.gpg", "f"]);
    signed(&["-u", "rel", "--textmode"]);
    bench.refuses(1, "sign without --textmode", &["--gpg", "rel.gpg", "f"]);
    signed(&["-u", "rel", "--faked-system-time", "20300101T000000"]);
    let (code, said) = bench.check(&["--gpg", "rel.gpg", "f"]);
    assert!(code == 0 || said.contains("key"), "a signature from the future: gpgv's to judge: {said}");

    signed(&[
        "-u",
        "rel",
        "--default-sig-expire",
        "seconds=1",
        "--faked-system-time",
        "20260101T000000!",
        "--ignore-time-conflict",
        "--ignore-valid-from",
    ]);
    assert_eq!(bench.check(&["--gpg", "rel.gpg", "f"]).0, 1, "an expired signature");
    bench.gpg(&["--faked-system-time", "20250101T000000!", "--quick-gen-key", "old", "ed25519", "sign", "1d"]);
    bench.gpg(&["-o", "old.gpg", "--export", "old"]);
    signed(&["-u", "old", "--faked-system-time", "20250101T010000!"]);
    bench.refuses(1, "has expired", &["--gpg", "old.gpg", "f"]);

    // Texts that hold a signature and the signed bytes too: what is inside is not what is judged.
    for form in ["--clearsign", "--sign"] {
        bench.gpg(&["-u", "rel", "-o", "f.sig", form, "f"]);
        assert_eq!(bench.check(&["--gpg", "rel.gpg", "f"]).0, 1, "{form}");
    }
    bench.file("f.sig", "nothing\n");
    bench.refuses(1, "there is no OpenPGP signature in it", &["--gpg", "rel.gpg", "f"]);
    bench.gpg(&["-o", "secret.gpg", "--export-secret-keys", "rel"]);
    bench.refuses(3, "it holds a secret key", &["--gpg", "secret.gpg", "f"]);
    bench.file("empty.gpg", "");
    bench.refuses(3, "it is empty", &["--gpg", "empty.gpg", "f"]);

    // A host without gpgv.
    signed(&["-u", "rel"]);
    for folder in ["usr", "bin"] {
        fs::remove_file(bench.dir.path().join("host").join(folder)).unwrap();
    }
    bench.refuses(3, "apt-get install gpgv", &["--gpg", "rel.gpg", "f"]);
}

#[test]
fn signatures_of_several_kinds_must_all_hold() {
    let bench = Bench::with_script();
    bench.ssh_key("k", &["-t", "ed25519"]);
    bench.file("allowed", format!("a@x {}\n", bench.public("k")));
    bench.ssh_sign("k", "file", "SHA256SUMS");
    minisign(&bench.path(""), &["-G", "-W", "-p", "k.minisign", "-s", "k.sec"]);
    minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", "SHA256SUMS"]);
    let both = ["--sums", "SHA256SUMS", "--ssh", "allowed", "--minisign", "k.minisign"];
    let (code, said) = bench.check(&[&both[..], &["f"]].concat());
    assert!(code == 0 && said.contains("minisign ") && said.contains("; ssh SHA256:"), "{said}");
    bench.refuses(2, "--sig names one signature", &[&both[..], &["--sig", "x", "f"]].concat());
    bench.refuses(2, "say whose counts", &["--sums", "SHA256SUMS", "--signer", "a@x", "f"]);
    bench.refuses(2, "say whose counts", &["--sums", "SHA256SUMS", "--sig", "x", "f"]);
    bench.ssh_sign("k", "git", "SHA256SUMS");
    bench.refuses(1, "namespace", &[&both[..], &["f"]].concat());
}

/// Row 37: TUF's mix-and-match and wrong software: every file is rightly signed, and of another release.
#[test]
fn a_signature_for_another_version_is_refused() {
    let bench = Bench::new();
    let name = "rune_1.2.2_linux.tar";
    let path = bench.listed(name, b"#!/bin/sh\n");
    minisign(&bench.path(""), &["-G", "-W", "-p", "k.pub", "-s", "k.sec"]);
    let sign = |file: &str, comment: &str| minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", file, "-t", comment]);
    let record = |version: &str| {
        let digest = sha256(&path);
        bench.file(
            format!("{name}.origin.json"),
            format!(r#"{{"schema":1,"source":"gh:o/r","version":"{version}","asset":"{name}","digest":"{digest}","time":7}}"#),
        );
    };
    let list = ["--sums", "SHA256SUMS", "--minisign", "k.pub"];
    sign("SHA256SUMS", "of a release");
    record("v1.2.2");
    assert_eq!(bench.check(&[&list[..], &[name]].concat()).0, 0);
    record("v1.2.3");
    bench.refuses_last(1, "is by its name version 1.2.2, and v1.2.3 is wanted", &[&list[..], &[name]].concat());
    record("v1.2.2");
    bench.refuses_last(
        1,
        "was fetched as version v1.2.2, and 2.0.0 is wanted",
        &[&list[..], &["--expect-version", "2.0.0", name]].concat(),
    );
    sign("SHA256SUMS", "version:1.2.1");
    bench.refuses_last(
        1,
        "SHA256SUMS: is signed as version 1.2.1, and v1.2.2 is wanted",
        &[&list[..], &[name]].concat(),
    );
    sign("SHA256SUMS", "timestamp:1\tversion:v1.2.2");
    assert_eq!(bench.check(&[&list[..], &["--expect-version", "1.2.2", name]].concat()).0, 0);
    // Nothing of it reaches the store either.
    record("v1.2.3");
    let (code, stdout, _) = bench.ran(bench.verify().args(list).arg(name));
    assert_eq!((code, stdout.as_str(), bench.store().len()), (1, "", 0));
}

/// A digest without a name is of whatever its list is called after, and nobody signed what it is called.
#[test]
fn only_a_name_in_the_list_is_signed_with_it() {
    let bench = Bench::new();
    let path = bench.file("rune-9.9.9", "#!/bin/sh\n");
    bench.ssh_key("k", &[]);
    bench.file("signers", format!("* {}\n", bench.public("k")));
    bench.file("policy", "REQUIRE=version\n");
    let digest = sha256(&path);
    let list = "rune-9.9.9.sha256";
    let arguments =
        ["--sums", list, "--ssh", "signers", "--policy", "policy", "--expect-version", "9.9.9", "rune-9.9.9"];
    for (text, code) in [(format!("{digest}  rune-9.9.9\n"), 0), (format!("{digest}\n"), 1)] {
        bench.file(list, text);
        bench.ssh_sign("k", "file", list);
        let (got, stderr) = bench.check(&arguments);
        assert!(got == code && (code == 0 || stderr.contains("version is not proven (REQUIRE)")), "{got}: {stderr}");
    }
}

impl Bench {
    /// As [`Self::refuses`], where lines of what did hold stand in front.
    fn refuses_last(&self, code: i32, words: &str, arguments: &[&str]) {
        let (got, stderr) = self.check(arguments);
        assert!(got == code && stderr.lines().last().is_some_and(|line| line.contains(words)), "{got}: {stderr}");
    }
}

/// The bits of `bytes` whose flip `holds` takes for good. In the short form each byte has one bit flipped, each time another.
fn survivors(bytes: &[u8], full: bool, mut holds: impl FnMut(&[u8]) -> bool) -> Vec<usize> {
    assert!(holds(bytes), "unflipped it must hold");
    let flipped = |bit: &usize| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        holds(&flipped)
    };
    (0..bytes.len() * 8).filter(|bit| full || bit % 8 == (bit / 8) % 8).filter(flipped).collect()
}

#[test]
fn a_flip_that_a_careless_judge_takes_is_found() {
    let careless = |bytes: &[u8]| bytes.starts_with(b"ab");
    assert_eq!(survivors(b"abc", true, careless), [16, 17, 18, 19, 20, 21, 22, 23]);
    assert_eq!(survivors(b"abc", false, careless), [18]);
}

/// Row 28: each of file, list, signature and key in turn, for each kind of signature that this process checks itself: every bit.
#[test]
fn no_flipped_bit_of_file_signature_or_key_holds() {
    let bench = Bench::with_script();
    bench.ssh_key("k", &["-t", "ed25519"]);
    bench.ssh_key("p256", &["-t", "ecdsa", "-b", "256"]);
    bench.file("allowed", format!("a@x {}\nb@x {}\n", bench.public("k"), bench.public("p256")));
    minisign(&bench.path(""), &["-G", "-W", "-p", "k.minisign", "-s", "k.sec"]);
    minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", "f", "-t", "c"]);
    let ssh = || {
        let signers = SshSigners { allowed: bench.path("allowed"), namespace: "file".to_owned() };
        bench.judged(Given { ssh: Some(signers), ..Given::default() }).is_some()
    };
    let minisigned = || {
        let key = KeyPlace::File(bench.path("k.minisign"));
        bench.judged(Given { minisign: Some(key), ..Given::default() }).is_some()
    };
    let swept = |file: &str, holds: &dyn Fn() -> bool| {
        let bytes = fs::read(bench.path(file)).unwrap();
        let survivors = survivors(&bytes, true, |flipped| {
            bench.file(file, flipped);
            holds()
        });
        bench.file(file, &bytes);
        survivors
    };
    for key in ["k", "p256"] {
        bench.ssh_sign(key, "file", "f");
        for file in ["f", "f.sig"] {
            assert_eq!(swept(file, &ssh), Vec::<usize>::new(), "{key} {file}");
        }
    }
    assert_eq!(swept("f", &minisigned), Vec::<usize>::new());
    // The untrusted comments, which are shown nowhere, and the line end behind all: nobody signs them.
    let free = |file: &str| {
        let bytes = fs::read(bench.path(file)).unwrap();
        let comment = bytes.iter().position(|b| *b == b'\n').unwrap();
        swept(file, &minisigned)
            .into_iter()
            .filter(|bit| (comment..bytes.len() - 1).contains(&(bit / 8)))
            .collect::<Vec<_>>()
    };
    // A signed list: the file is proven by the list, and no bit of the list is free.
    minisign(&bench.path(""), &["-S", "-s", "k.sec", "-m", "SHA256SUMS", "-t", "c"]);
    let listed = |key: bool| {
        let minisign = key.then(|| KeyPlace::File(bench.path("k.minisign")));
        bench.judged(Given { sums: Some("SHA256SUMS".into()), minisign, ..Given::default() }).is_some()
    };
    for file in ["f", "SHA256SUMS"] {
        assert_eq!(swept(file, &|| listed(true)), Vec::<usize>::new(), "{file}");
    }
    // Unsigned, the case of a digit says nothing: bit 5 of a letter.
    let list = fs::read(bench.path("SHA256SUMS")).unwrap();
    let is_case = |bit: &usize| bit % 8 == 5 && bit / 8 < 64 && list[bit / 8].is_ascii_alphabetic();
    let free_bits: Vec<_> = swept("SHA256SUMS", &|| listed(false)).into_iter().filter(|bit| !is_case(bit)).collect();
    assert_eq!(free_bits, Vec::<usize>::new());
    assert_eq!(free("f.minisig"), Vec::<usize>::new());
    assert_eq!(free("k.minisign"), Vec::<usize>::new());
}

/// gpgv is the judge. What it takes must leave the statement true: the same key, the same time. Of a signature of 119 bytes
/// it takes flips in the packet's length (it reads to the end anyway), in what no signature covers (the issuer's short number,
/// the first two bytes of the digest), and in the length of R in bits.
#[test]
fn no_flipped_bit_changes_what_an_openpgp_signature_says() {
    let bench = Bench::with_script();
    bench.gpg_key("rel");
    bench.gpg(&["-o", "f.sig", "--detach-sign", "f"]);
    let said = || bench.judged(Given { gpg: Some(bench.path("rel.gpg")), ..Given::default() });
    let right = said().unwrap();
    let full = std::env::var_os("UPSWAP_SWEEP").is_some_and(|form| form == "full");
    assert_eq!((right[0].by, right[0].signed_at.is_some()), (By::OpenPgp, true));
    for (file, taken) in [("f", false), ("f.sig", true), ("rel.gpg", true)] {
        let bytes = fs::read(bench.path(file)).unwrap();
        let survivors = survivors(&bytes, full, |flipped| {
            bench.file(file, flipped);
            let now = said();
            assert!(now.is_none() || now.as_ref() == Some(&right), "{file}: {now:?}");
            now.is_some()
        });
        bench.file(file, &bytes);
        assert!(taken || survivors.is_empty(), "{file}: {survivors:?}");
    }
}
