//! verify --sigstore against an instance of our own: what holds, and every way in which a bundle does not.

mod instance;
#[allow(dead_code)]
#[path = "../../man/pages.rs"]
mod pages;

use std::path::{Path, PathBuf};

use assert_cmd::cargo::cargo_bin_cmd;
use base64::Engine as _;
use fs_err as fs;
use instance::{GITHUB, Instance, NOON, Over, RELEASE, Signing, provenance};
use rcgen::SanType;
use serde_json::{Value, json};
use upswap::steps::artifact::evidence::{Evidence, Given, Judge, Subject, Trusted};
use upswap::sys::Host;
use upswap::words::exit::{Coded as _, Exit};

const FILE: &str = "rune.tar.gz";
const BYTES: &[u8] = b"the bytes of a release";

/// A folder with a file in it, and the root of the instance that signs it.
struct Bench {
    dir: tempfile::TempDir,
    instance: Instance,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), instance: Instance::new() };
        fs::write(bench.path(FILE), BYTES).unwrap();
        bench.root(&bench.instance.root());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self, root: &Value) {
        fs::write(self.path("root.json"), root.to_string()).unwrap();
    }

    fn bundle(&self, bundle: impl AsRef<[u8]>) {
        fs::write(self.path(&format!("{FILE}.sigstore.json")), bundle).unwrap();
    }

    /// The file's bundle, with this said in the certificate.
    fn signed(&self, over: &Over, change: impl FnOnce(&mut Signing)) -> Value {
        let mut signing = Signing::default();
        change(&mut signing);
        let bundle = self.instance.sign(over, &signing);
        self.bundle(bundle.to_string());
        bundle
    }

    /// `verify --check --sigstore-root ROOT ARGUMENTS FILE`: the code, and stderr without this test's folder.
    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let (code, _, stderr) = self.ran(&[&["--check"], arguments].concat());
        (code, stderr)
    }

    fn ran(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = cargo_bin_cmd!("verify");
        command.current_dir(self.dir.path()).env("UPSWAP_ROOT", self.path("host"));
        let output = command.args(["--sigstore-root", "root.json"]).args(arguments).arg(FILE).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Refused, with code 1 and these words.
    #[track_caller]
    fn refuses(&self, why: &str) {
        let (code, said) = self.verify(&["--sigstore", "gh:o/r"]);
        assert!(code == 1 && said.contains(why) && said.lines().count() == 1, "{code} {said}\nwanted: {why}");
    }

    #[track_caller]
    fn takes(&self) {
        let (code, said) = self.verify(&["--sigstore", "gh:o/r"]);
        assert_eq!(code, 0, "{said}");
    }

    fn trusted(&self) -> Evidence {
        let root = Some(self.path("root.json"));
        let trusted = Trusted::new("gh:o/r".parse().unwrap(), None, None, root).unwrap();
        Evidence::given(Given { sigstore: Some(trusted), ..Given::default() }).unwrap()
    }
}

/// `verify`'s answer in this process, which is a hundred times as fast: the code.
fn judged(judge: &Judge<'_>, file: &Path, bytes: &[u8]) -> Exit {
    let subject = Subject { place: file, name: file.file_name().unwrap() };
    match judge.judge(subject, bytes) {
        Ok(_) => Exit::Done,
        Err(e) => e.exit(),
    }
}

#[test]
fn a_signature_says_who_made_it_when_and_by_whose_word() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(BYTES), |_| {});
    let tags = "https://github.com/o/r/.github/workflows/release.yml@refs/tags/v*";
    for identity in ["gh:o/r", RELEASE, tags] {
        let (code, said) = bench.verify(&["--sigstore", identity]);
        assert_eq!(code, 0, "{identity}: {said}");
        assert_eq!(
            said,
            format!(
                "verify: {FILE}: authentic: sigstore {RELEASE} by the word of {GITHUB} over {FILE}: a signature, \
                 built from https://github.com/o/r at a1b2c3, in the transparency log\n"
            )
        );
    }
    let (code, answer, _) = bench.ran(&["--check", "--json", "--sigstore", "gh:o/r"]);
    assert_eq!(code, 0);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let said = &answer["files"][0]["proven"][0];
    assert_eq!(said["by"], "sigstore");
    assert_eq!(said["signer"], format!("sigstore:{RELEASE}"));
    assert_eq!(said["issuer"], GITHUB);
    assert_eq!(said["signed_at"], NOON);
    assert_eq!(said["version"], "v1.0.0");
    assert_eq!(said["covers"], json!({ "what": "file", "name": FILE }));
    assert_eq!(answer["files"][0]["strength"], "authentic");
}

#[test]
fn an_attestation_must_be_of_this_file_and_say_who_made_it() {
    let bench = Bench::new();
    bench.signed(&Over::Statement(provenance(&format!("dist/{FILE}"), BYTES)), |_| {});
    let (code, said) = bench.verify(&["--sigstore", "gh:o/r"]);
    assert!(code == 0 && said.contains("an attestation (https://slsa.dev/provenance/v1)"), "{said}");

    bench.signed(&Over::Statement(provenance(FILE, b"other bytes")), |_| {});
    bench.refuses("it is over other bytes");
    bench.signed(&Over::Statement(provenance("other.tar.gz", BYTES)), |_| {});
    bench.refuses("signed for 'other.tar.gz', not for 'rune.tar.gz'");
    bench.signed(&Over::Statement(provenance("\u{1b}[2Jother", BYTES)), |_| {});
    bench.refuses("signed for '\\u{1b}[2Jother'");
    // The name of one subject and the digest of another prove nothing.
    let mut statement = provenance(FILE, b"other bytes");
    let other = provenance("other.tar.gz", BYTES)["subject"][0].clone();
    statement["subject"].as_array_mut().unwrap().push(other);
    bench.signed(&Over::Statement(statement), |_| {});
    bench.refuses("signed for 'other.tar.gz'");
    let mut statement = provenance(FILE, BYTES);
    statement["predicateType"] = "https://example.org/found-holes/v1".into();
    bench.signed(&Over::Statement(statement), |_| {});
    bench.refuses("does not say who made the file");
    let mut statement = provenance(FILE, BYTES);
    statement["_type"] = "https://example.org/x".into();
    bench.signed(&Over::Statement(statement), |_| {});
    bench.refuses("no in-toto statement");
}

#[test]
fn a_bundle_speaks_of_a_list_as_of_a_file() {
    let bench = Bench::new();
    let list = format!("{}  {FILE}\n", upswap::words::digest::Digest::of(BYTES));
    fs::write(bench.path("SUMS"), &list).unwrap();
    let bundle = bench.instance.sign(&Over::Bytes(list.as_bytes()), &Signing::default());
    fs::write(bench.path("SUMS.sigstore"), bundle.to_string()).unwrap();
    let (code, said) = bench.verify(&["--sums", "SUMS", "--sigstore", "gh:o/r"]);
    assert!(code == 0 && said.contains("over SUMS: a signature") && said.contains("sha256 in SUMS"), "{said}");
    fs::write(bench.path("SUMS"), format!("{list}\n")).unwrap();
    let (code, said) = bench.verify(&["--sums", "SUMS", "--sigstore", "gh:o/r"]);
    assert!(code == 1 && said.contains("it is over other bytes"), "{said}");
}

#[test]
fn another_artifact_identity_issuer_or_source_is_refused() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(b"other bytes"), |_| {});
    bench.refuses("it is over other bytes");
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    bench.signed(&Over::Bytes(BYTES), |s| s.san = uri(&RELEASE.replace("/o/", "/oo/")));
    bench.refuses("it is by https://github.com/oo/r/");
    bench.signed(&Over::Bytes(BYTES), |s| s.san = SanType::Rfc822Name(RELEASE.try_into().unwrap()));
    bench.refuses("it is by https://github.com/o/r/");
    bench.signed(&Over::Bytes(BYTES), |s| s.issuer = Some("https://evil.example"));
    bench.refuses("https://evil.example vouches for its signer");
    bench.signed(&Over::Bytes(BYTES), |s| s.issuer = None);
    bench.refuses("nobody vouches for its signer");
    bench.signed(&Over::Bytes(BYTES), |s| s.source = Some("https://github.com/o/fork"));
    bench.refuses("what was built from https://github.com/o/fork, not from https://github.com/o/r");
    bench.signed(&Over::Bytes(BYTES), |s| s.source = None);
    bench.refuses("a repository that the certificate does not name");
}

/// All the rest fits, the log's entry as well: only the key is another one.
#[test]
fn another_key_than_the_certificates_is_refused() {
    let bench = Bench::new();
    for over in [Over::Bytes(BYTES), Over::Statement(provenance(FILE, BYTES))] {
        bench.signed(&over, |s| s.own_key = false);
        bench.refuses("invalid signature");
    }
}

/// The tag that started the workflow is the version that it made.
#[test]
fn another_version_is_refused() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(BYTES), |_| {});
    let expected = |version| bench.verify(&["--sigstore", "gh:o/r", "--expect-version", version]);
    assert_eq!(expected("v1.0.0").0, 0);
    let (code, said) = expected("v1.0.1");
    assert!(code == 1 && said.contains("v1.0.0"), "{said}");
}

/// A workflow that many repositories use signs for all of them: the source tells which.
#[test]
fn a_workflow_of_another_repository_needs_the_source_said() {
    let bench = Bench::new();
    let shared = "https://github.com/tools/build/.github/workflows/go.yml@refs/tags/v2";
    bench.signed(&Over::Bytes(BYTES), |s| s.san = SanType::URI(shared.try_into().unwrap()));
    let (code, said) = bench.verify(&["--sigstore", shared]);
    assert!(code == 1 && said.contains("built from https://github.com/o/r, not from https://github.com/tools/build"));
    assert_eq!(bench.verify(&["--sigstore", shared, "--sigstore-source", "gh:o/r"]).0, 0);
    assert_eq!(bench.verify(&["--sigstore", shared, "--sigstore-source", "gh:o/other"]).0, 1);
}

#[test]
fn an_address_needs_its_issuer() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(BYTES), |s| {
        s.san = SanType::Rfc822Name("someone@example.org".try_into().unwrap());
        s.issuer = Some("https://accounts.example");
        s.source = None;
    });
    let (code, said) = bench.verify(&["--sigstore", "someone@example.org"]);
    assert!(code == 2 && said.contains("--sigstore-issuer URL"), "{said}");
    let by = |issuer| bench.verify(&["--sigstore", "someone@example.org", "--sigstore-issuer", issuer]).0;
    assert_eq!((by("https://accounts.example"), by("https://accounts.other"), by("")), (0, 1, 2));
}

#[test]
fn what_names_nobody_or_everybody_is_a_usage_error() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(BYTES), |_| {});
    for bad in ["", "*", "https://github.com/*", "*@example.org", "gh:o"] {
        assert_eq!(bench.verify(&["--sigstore", bad, "--sigstore-issuer", GITHUB]).0, 2, "{bad}");
    }
    let (code, said) = bench.verify(&["--sha256", &"0".repeat(64), "--sigstore-issuer", GITHUB]);
    assert!(code == 2 && said.contains("name the signer with --sigstore"), "{said}");
    assert_eq!(bench.verify(&["--sigstore", "gh:o/r", "--sigstore-source", "o/r"]).0, 2);
}

#[test]
fn a_certificate_must_be_good_when_it_signed_and_be_for_signing() {
    let bench = Bench::new();
    bench.takes_nothing(|s| s.time = NOON + 5 * 86_400, "NotValidForTime|expired|CertExpired");
    bench.takes_nothing(|s| s.time = NOON - 5 * 86_400, "not yet|CertNotValidYet|NotValidYet");
    bench.takes_nothing(|s| s.for_code = false, "certificate chain");
    bench.takes_nothing(|s| s.certificate_logged = false, "signed certificate timestamp");
    bench.takes_nothing(|s| s.time = 4_000_000_000, "future");
}

impl Bench {
    #[track_caller]
    fn takes_nothing(&self, change: impl FnOnce(&mut Signing), any: &str) {
        self.signed(&Over::Bytes(BYTES), change);
        let (code, said) = self.verify(&["--sigstore", "gh:o/r"]);
        let named = any.split('|').any(|why| said.to_lowercase().contains(&why.to_lowercase()));
        assert!(code == 1 && named && said.lines().count() == 1, "{code} {said}\nwanted: {any}");
    }
}

#[test]
fn without_the_logs_word_there_is_no_proof() {
    let bench = Bench::new();
    let good = bench.signed(&Over::Bytes(BYTES), |_| {});
    bench.takes();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle["verificationMaterial"]);
        bench.bundle(bundle.to_string());
    };
    changed(&|material| material["tlogEntries"] = json!([]));
    bench.refuses("inclusion proof");
    let remove = |name: &'static str| {
        move |material: &mut Value| {
            material["tlogEntries"][0].as_object_mut().unwrap().remove(name);
        }
    };
    changed(&remove("inclusionProof"));
    bench.refuses("inclusion proof");
    changed(&remove("inclusionPromise"));
    bench.refuses("no verified timestamp");
    // An entry of another signature by the same signer does not stand in for this one's.
    let other = bench.instance.sign(&Over::Bytes(BYTES), &Signing::default());
    changed(&|material| material["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone());
    bench.refuses("log entry does not match the bundle");
}

#[test]
fn an_instance_that_is_not_trusted_proves_nothing() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(BYTES), |_| {});
    let (own, other) = (bench.instance.root(), Instance::new().root());
    for (part, why) in
        [("tlogs", "log"), ("ctlogs", "signed certificate timestamp"), ("certificateAuthorities", "certificate chain")]
    {
        let mut root = own.clone();
        root[part] = other[part].clone();
        bench.root(&root);
        bench.refuses(why);
    }
    bench.root(&own);
    bench.takes();
    // Nor do the keys that came with verify speak for ours.
    let mut command = cargo_bin_cmd!("verify");
    command.current_dir(bench.dir.path()).args(["--check", "--sigstore", "gh:o/r", FILE]).assert().code(1);
}

/// There is one page, whether verify was built with Sigstore or not; --help shows what there is.
#[test]
fn the_page_does_not_depend_on_the_build_and_the_help_does() {
    let page = pages::PAGES.iter().find(|page| page.tool == "verify").unwrap();
    let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man/verify.1")).unwrap();
    assert!(page.render() == committed, "run `make man` and commit");
    let help = cargo_bin_cmd!("verify").arg("--help").output().unwrap().stdout;
    assert!(String::from_utf8(help).unwrap().contains("--sigstore-root"));
}

#[test]
fn junk_is_malformed_and_never_more() {
    let bench = Bench::new();
    bench.signed(&Over::Bytes(BYTES), |_| {});
    let good = fs::read_to_string(bench.path(&format!("{FILE}.sigstore.json"))).unwrap();
    let mut long = vec![0xa5; 1 << 20];
    for junk in [
        &b""[..],
        b"<!DOCTYPE html><title>404</title>",
        b"{}",
        b"[]",
        b"null",
        &b"[".repeat(100_000),
        &long,
        &good.as_bytes()[..good.len() / 2],
        format!("{good}x").as_bytes(),
        format!("{good}\n").repeat(65).as_bytes(),
    ] {
        bench.bundle(junk);
        let (code, said) = bench.verify(&["--sigstore", "gh:o/r"]);
        assert!(code == 3 && said.lines().count() == 1 && said.len() < 400, "{code} {said}");
    }
    long.push(0);
    bench.bundle(&long);
    let (code, said) = bench.verify(&["--sigstore", "gh:o/r"]);
    assert!(code == 3 && said.contains("more than 1048576 bytes"), "{said}");
    for root in [json!({}), json!({ "mediaType": "x" }), json!([]), json!("x")] {
        bench.root(&root);
        let (code, said) = bench.verify(&["--sigstore", "gh:o/r"]);
        assert!(code == 3 && said.contains("not a trusted root"), "{said}");
    }
    fs::remove_file(bench.path("root.json")).unwrap();
    let (code, said) = bench.verify(&["--sigstore", "gh:o/r"]);
    assert!(code == 1 && said.contains("there is no such trusted root"), "{said}");
}

/// `gh attestation download` writes all that GitHub has, one a line.
#[test]
fn one_of_several_bundles_is_enough() {
    let bench = Bench::new();
    let bad = bench.signed(&Over::Bytes(b"other bytes"), |_| {});
    let good = bench.signed(&Over::Statement(provenance(FILE, BYTES)), |_| {});
    bench.bundle(format!("{bad}\n{good}\n"));
    bench.takes();
    bench.bundle(format!("{bad}\n{bad}\n"));
    bench.refuses("it is over other bytes");
}

/// Every bit of every field that says something: the signature, the digest, the certificate, and all of the log's proof.
#[test]
fn no_single_flipped_bit_verifies() {
    let logged = "/verificationMaterial/tlogEntries/0";
    let (flips, taken) = flips(
        &Over::Bytes(BYTES),
        &[
            "/messageSignature/signature",
            "/messageSignature/messageDigest/digest",
            "/verificationMaterial/certificate/rawBytes",
            &format!("{logged}/logId/keyId"),
            &format!("{logged}/inclusionPromise/signedEntryTimestamp"),
            &format!("{logged}/inclusionProof/rootHash"),
            &format!("{logged}/inclusionProof/hashes/0"),
            &format!("{logged}/canonicalizedBody"),
        ],
    );
    assert!(flips > 9_000 && taken.is_empty(), "{flips}, taken: {taken:?}");
}

#[test]
fn no_single_flipped_bit_of_an_attestation_verifies() {
    let statement = Over::Statement(provenance(FILE, BYTES));
    let (flips, taken) = flips(&statement, &["/dsseEnvelope/signatures/0/sig", "/dsseEnvelope/payload"]);
    assert!(flips > 2_000 && taken.is_empty(), "{flips}, taken: {taken:?}");
}

/// The sweep over a field that nobody signs.
#[test]
fn the_sweep_finds_a_field_that_nothing_protects() {
    let (flips, taken) = flips(&Over::Bytes(BYTES), &["/hint"]);
    assert_eq!((flips, taken.len()), (32, 32));
}

/// Flips each bit in the fields of a good bundle: how many there were, and which of the flipped bundles held.
fn flips(over: &Over, fields: &[&str]) -> (usize, Vec<String>) {
    let bench = Bench::new();
    let file = bench.path(FILE);
    let evidence = bench.trusted();
    let judge = evidence.judge(&Host::below(&bench.path("host"))).unwrap();
    let mut good = bench.signed(over, |_| {});
    good["hint"] = instance::b64(b"hint").into();
    let text = good.to_string();
    bench.bundle(&text);
    assert_eq!(judged(&judge, &file, BYTES), Exit::Done);
    let (mut flips, mut taken) = (0, Vec::new());
    for field in fields {
        let value = good.pointer(field).and_then(Value::as_str).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(value).unwrap();
        // The body of an entry repeats the rest, and is long: every bit of every eighth byte.
        let step = if field.ends_with("canonicalizedBody") { 8 } else { 1 };
        for bit in (0..bytes.len()).step_by(step).flat_map(|byte| byte * 8..byte * 8 + 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            bench.bundle(text.replacen(value, &instance::b64(&flipped), 1));
            flips += 1;
            if judged(&judge, &file, BYTES) == Exit::Done {
                taken.push(format!("{field}: bit {bit}"));
            }
        }
    }
    bench.bundle(&text);
    for bit in 0..BYTES.len() * 8 {
        let mut flipped = BYTES.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(judged(&judge, &file, &flipped), Exit::No, "bit {bit} of the file");
    }
    assert_eq!(judged(&judge, &file, BYTES), Exit::Done);
    (flips, taken)
}
