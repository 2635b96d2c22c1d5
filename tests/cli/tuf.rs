//! The attacks that The Update Framework names (its specification, section 1.5.2), on the chain fetch | verify | swapbin: each
//! is refused, by itself or by the policy that the test shows.
//!
//! Whoever attacks holds the mirror: he can serve any bytes, old and new, and has no key. Two of the attacks have no test:
//! there are no dependencies to slip in, and against stolen keys only root's list of signers helps, which is a policy's.

use std::path::PathBuf;
use std::time::Duration;

use fs_err as fs;
use upswap::words::digest::Digest;

use crate::host::{Host, Ran};
use crate::http::{Reply, Server};

/// What an upgrade of `app` from the mirror demands of a release without any policy: a list that is signed.
const SIGNED: &str = "--sums SUMS --minisign ./app.pub --floor app";

/// A host, a mirror that is a folder of releases, and a publisher who signs.
struct World {
    host: Host,
}

impl World {
    fn new() -> Self {
        let world = Self { host: Host::new() };
        world.keys("app");
        world
    }

    /// A pair of keys, `NAME.pub` and `NAME.key`.
    fn keys(&self, name: &str) {
        self.minisign(&["-GWf", "-p", &format!("{name}.pub"), "-s", &format!("{name}.key")]);
    }

    fn minisign(&self, arguments: &[&str]) {
        let mut command = std::process::Command::new("minisign");
        let output = command.current_dir(self.host.path("")).args(arguments).output();
        let output = output.expect("these tests need the real minisign program: install the package minisign");
        assert!(output.status.success(), "minisign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The publisher puts `version` of `app` into the mirror, with its signed list.
    fn publishes(&self, version: &str) {
        self.puts(version, "app", &format!("#!/bin/sh\necho {version}\n"));
        self.lists(version, &["app"]);
        self.signs(version, "app.key", &format!("timestamp:1700000000\tfile:SUMS\tversion:{version}"));
    }

    fn puts(&self, version: &str, name: &str, bytes: &str) {
        fs::create_dir_all(self.mirror(version)).unwrap();
        fs::write(self.mirror(version).join(name), bytes).unwrap();
    }

    fn lists(&self, version: &str, names: &[&str]) {
        let line =
            |name: &&str| format!("{}  {name}\n", Digest::of(&fs::read(self.mirror(version).join(name)).unwrap()));
        self.puts(version, "SUMS", &names.iter().map(line).collect::<Vec<_>>().concat());
    }

    fn signs(&self, version: &str, key: &str, comment: &str) {
        let list = format!("mirror/{version}/SUMS");
        self.minisign(&["-S", "-s", key, "-m", &list, "-t", comment]);
    }

    fn mirror(&self, version: &str) -> PathBuf {
        self.host.path("mirror").join(version)
    }

    /// `fetch mirror@SELECTOR | verify FLAGS`, and the two codes are the answer's: that of fetch when it is not 0.
    fn takes(&self, selector: &str, flags: &str) -> Ran {
        let script = format!(
            "fetch --asset app --sums SUMS --sig SUMS.minisig --into got mirror@{selector} >got.list || exit $?
            verify {flags} --files-from - <got.list >files || exit $?
            cat files"
        );
        let _ = fs::remove_dir_all(self.host.path("got"));
        self.host.ran(&mut self.host.shell(&script))
    }

    /// The same, swapped in under the guard and proven healthy.
    fn upgrades(&self, selector: &str, flags: &str) -> Ran {
        let taken = self.takes(selector, flags);
        if taken.code != 0 {
            return taken;
        }
        let script = "swapbin --unit app -t bin --files-from files
            svc-wait app --stable 0 --exe any -- usr/bin/systemctl restart -- app.service";
        self.host.ran(self.host.tool("rollback").args(["--guard", "app", "--", "sh", "-ec", script]))
    }

    fn refuses(&self, selector: &str, flags: &str, why: &str) {
        let ran = self.takes(selector, flags);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }

    fn policy(&self, text: &str) -> String {
        self.host.file("policy", text);
        format!("{SIGNED} --policy policy")
    }
}

#[test]
fn an_honest_mirror_is_taken() {
    let world = World::new();
    world.publishes("v1.0.0");
    world.upgrades("latest", SIGNED).is(0);
    assert_eq!(world.host.text("bin/app"), "#!/bin/sh\necho v1.0.0\n");
    assert_eq!(world.host.text("var/lib/upswap/app/floor"), "v1.0.0\n");
}

#[test]
fn arbitrary_software() {
    let world = World::new();
    world.publishes("v1.0.0");
    world.puts("v1.0.0", "app", "#!/bin/sh\necho evil\n");
    world.refuses("latest", SIGNED, "does not verify");
    // With a list of his own, and a signature of his own.
    world.lists("v1.0.0", &["app"]);
    world.refuses("latest", SIGNED, "does not hold");
    world.keys("evil");
    world.signs("v1.0.0", "evil.key", "file:SUMS");
    world.refuses("latest", SIGNED, "does not hold");
    fs::remove_file(world.mirror("v1.0.0").join("SUMS.minisig")).unwrap();
    world.refuses("latest", SIGNED, "no asset 'SUMS.minisig'");
}

/// Row 26: the mirror shows last month's release.
#[test]
fn rollback() {
    let world = World::new();
    world.publishes("v1.0.0");
    world.publishes("v2.0.0");
    world.upgrades("latest", SIGNED).is(0);
    // The mirror shows the old release alone.
    fs::remove_dir_all(world.mirror("v2.0.0")).unwrap();
    world.refuses("latest", SIGNED, "it is v1.0.0, and v2.0.0 was proven healthy here");
    // Or calls it by a new name: the signature says which version it is of.
    fs::rename(world.mirror("v1.0.0"), world.mirror("v3.0.0")).unwrap();
    world.refuses("latest", SIGNED, "v1.0.0");
    // Where signatures name no version, it is a policy that asks for one.
    world.signs("v3.0.0", "app.key", "file:SUMS");
    world.takes("latest", SIGNED).is(0);
    world.refuses("latest", &world.policy("REQUIRE=version"), "version is not proven (REQUIRE)");
}

#[test]
fn indefinite_freeze() {
    let world = World::new();
    world.publishes("v1.0.0");
    world.upgrades("latest", SIGNED).is(0);
    // What is shown for ever is taken for ever, unless somebody says how long.
    world.takes("latest", SIGNED).is(0);
    world.refuses("latest", &world.policy("MAX_AGE=30d"), "was a newer release held back?");
}

/// Row 38: an absurdly high version raises no floor before it was healthy.
#[test]
fn fast_forward() {
    let world = World::new();
    world.publishes("v1.0.0");
    world.upgrades("latest", SIGNED).is(0);
    // A version above all that will ever come would keep those out, if it raised the floor.
    fs::create_dir_all(world.mirror("v999.0.0")).unwrap();
    for name in ["app", "SUMS", "SUMS.minisig"] {
        fs::copy(world.mirror("v1.0.0").join(name), world.mirror("v999.0.0").join(name)).unwrap();
    }
    world.refuses("latest", SIGNED, "v1.0.0");
    assert_eq!(world.host.text("var/lib/upswap/app/floor"), "v1.0.0\n");
    // Where signatures name no version, it is a policy that asks for one; and root can lower the floor.
    world.signs("v999.0.0", "app.key", "file:SUMS");
    world.refuses("latest", &world.policy("REQUIRE=version"), "version is not proven (REQUIRE)");
    assert_eq!(world.host.text("var/lib/upswap/app/floor"), "v1.0.0\n");
    fs::remove_dir_all(world.mirror("v999.0.0")).unwrap();
    world.publishes("v1.0.1");
    world.upgrades("latest", SIGNED).is(0);
    assert_eq!(world.host.text("var/lib/upswap/app/floor"), "v1.0.1\n");
}

#[test]
fn endless_data() {
    let world = World::new();
    let server = Server::start(|_, _| {
        Reply::raw("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nendle\r\n").repeat()
    });
    let source = format!("{}/app@v1.0.0", server.url());
    let arguments = ["--allow-http", "--max-size", "1M", "--into", "got", &source];
    let ran = world.host.ran(world.host.tool("fetch").args(arguments)).is(3);
    assert!(ran.stderr.contains("larger than 1M"), "{}", ran.stderr);
    assert_eq!(world.host.names("got"), Vec::<String>::new());
}

#[test]
fn mix_and_match() {
    let world = World::new();
    world.publishes("v1.0.0");
    world.publishes("v2.0.0");
    // The old file with the new list, the old list with the new signature.
    fs::copy(world.mirror("v1.0.0").join("app"), world.mirror("v2.0.0").join("app")).unwrap();
    world.refuses("latest", SIGNED, "does not verify");
    world.publishes("v2.0.0");
    fs::copy(world.mirror("v1.0.0").join("SUMS"), world.mirror("v2.0.0").join("SUMS")).unwrap();
    world.refuses("latest", SIGNED, "does not hold");
}

#[test]
fn wrong_software() {
    let world = World::new();
    // The publisher signs other things too; none of them is this one.
    world.puts("v1.0.0", "app", "#!/bin/sh\necho other\n");
    world.lists("v1.0.0", &["app"]);
    let list = fs::read_to_string(world.mirror("v1.0.0").join("SUMS")).unwrap();
    world.puts("v1.0.0", "SUMS", &list.replace("  app", "  other"));
    world.signs("v1.0.0", "app.key", "file:SUMS");
    world.refuses("latest", SIGNED, "app");
    // A signature of the file itself, served under another name.
    let file = format!("mirror/v1.0.0/{}", "app");
    world.minisign(&["-S", "-s", "app.key", "-m", &file, "-t", "file:other"]);
    let verify = "verify --minisign ./app.pub mirror/v1.0.0/app";
    let ran = world.host.ran(&mut world.host.shell(verify)).is(1);
    assert!(ran.stderr.contains("right key, other file"), "{}", ran.stderr);
}

/// A mirror that answers nothing, or by bits, keeps a host from its upgrade: that can't be helped, but it is told, in time.
#[test]
fn malicious_mirror() {
    let world = World::new();
    let server = Server::start(|_, _| Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n", "slow").hold());
    let source = format!("{}/app@v1.0.0", server.url());
    let arguments = ["--allow-http", "--timeout", "1s", "--into", "got", &source];
    let begun = std::time::Instant::now();
    let ran = world.host.ran(world.host.tool("fetch").args(arguments)).is(75);
    assert!(begun.elapsed() < Duration::from_secs(30), "it must not wait for ever");
    assert!(ran.stderr.contains("not complete within 1s"), "{}", ran.stderr);
}
