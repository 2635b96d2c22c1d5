//! fetch from a container registry that keeps to the rules, and from some that do not.

mod login;

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use serde_json::{Value, json};
use upswap::words::digest::Digest;

use super::{Env, run};
use crate::http::{Reply, Seen, Server};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const BODY: &[u8] = b"the bytes of the file";

/// What a registry has of the repository `o/r`: answers by what stands behind `/v2/o/r/`.
#[derive(Clone, Default)]
struct Shelf(HashMap<String, Reply>);

impl Shelf {
    /// Puts a blob and gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", Digest::of(bytes));
        self.0.insert(format!("blobs/{digest}"), Reply::new(200, bytes));
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// The same with a file's name.
    fn file(&mut self, title: &str, bytes: &[u8]) -> Value {
        let mut descriptor = self.blob("application/octet-stream", bytes);
        descriptor["annotations"] = json!({ "org.opencontainers.image.title": title });
        descriptor
    }

    /// Puts a manifest by its digest and under `tags`, and gives its descriptor.
    fn manifest(&mut self, manifest: &Value, tags: &[&str]) -> Value {
        let bytes = manifest.to_string();
        let digest = format!("sha256:{}", Digest::of(bytes.as_bytes()));
        for name in tags.iter().copied().chain([digest.as_str()]) {
            self.0.insert(format!("manifests/{name}"), Reply::new(200, &bytes));
        }
        json!({ "mediaType": manifest["mediaType"], "digest": digest, "size": bytes.len() })
    }

    /// Puts an artifact with one file.
    fn artifact(&mut self, title: &str, bytes: &[u8], tags: &[&str]) -> Value {
        let file = self.file(title, bytes);
        self.manifest(&content(&[file]), tags)
    }

    /// Puts an image of these layers, lowest first.
    fn image(&mut self, layers: &[Vec<u8>], tags: &[&str]) -> Value {
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(&format!("{LAYER}+gzip"), layer)).collect();
        self.manifest(&content(&layers), tags)
    }

    fn serve(self) -> Server {
        Server::start(move |seen, _| self.answer(seen))
    }

    fn answer(&self, seen: &Seen) -> Reply {
        let rest = seen.path.strip_prefix("/v2/o/r/").unwrap_or_default();
        self.0.get(rest).cloned().unwrap_or_else(|| Reply::new(404, "{}"))
    }
}

fn content(layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI, "config": { "mediaType": "x", "digest": "sha256:0", "size": 2 }, "layers": layers })
}

fn index(entries: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries })
}

fn for_machine(mut entry: Value, architecture: &str) -> Value {
    entry["platform"] = json!({ "os": "linux", "architecture": architecture });
    entry
}

/// `oci://127.0.0.1:PORT/o/r` with `rest` behind it.
fn source(server: &Server, rest: &str) -> String {
    format!("oci:{}/o/r{rest}", server.url().strip_prefix("http:").unwrap())
}

/// What is in a layer.
enum Has<'h> {
    File(&'h str, &'h [u8]),
    Folder(&'h str),
    Link(&'h str, &'h str),
    Hard(&'h str, &'h str),
}
use Has::{File, Folder, Hard, Link};

fn tar(members: &[Has]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let (path, kind, bytes) = match member {
            File(path, bytes) => (path, tar::EntryType::Regular, *bytes),
            Folder(path) => (path, tar::EntryType::Directory, &b""[..]),
            Link(path, _) => (path, tar::EntryType::Symlink, &b""[..]),
            Hard(path, _) => (path, tar::EntryType::Link, &b""[..]),
        };
        if let Link(_, to) | Hard(_, to) = member {
            header.set_link_name(to).unwrap();
        }
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        // The builder refuses the paths that this is about.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn layer(members: &[Has]) -> Vec<u8> {
    gzip(&tar(members))
}

#[test]
fn an_artifact_is_fetched_by_tag_selector_and_digest_and_its_list_is_written() {
    let mut shelf = Shelf::default();
    let old = shelf.artifact("runed", b"old", &["v1.0.0"]);
    for tag in ["v1.1.0", "latest"] {
        shelf.artifact("runed", BODY, &[tag]);
    }
    shelf.artifact("runed", b"rc", &["v2.0.0-rc.1"]);
    let page = |tags: &[&str]| Reply::new(200, json!({ "name": "o/r", "tags": tags }).to_string());
    let next = "</v2/o/r/tags/list?n=1000&last=latest>; rel=\"next\"";
    shelf.0.insert("tags/list?n=1000".into(), page(&["sha256-00.sig", "v1.0.0", "latest"]).header("Link", next));
    shelf.0.insert("tags/list?n=1000&last=latest".into(), page(&["v2.0.0-rc.1", "v1.1.0"]));
    let server = shelf.serve();
    let pin = format!("@{}", old["digest"].as_str().unwrap());
    for (rest, more, tag, body) in [
        (":v1.0.0", &[][..], Some("v1.0.0"), &b"old"[..]),
        (":latest", &[], Some("latest"), BODY),
        ("", &[], Some("v1.1.0"), BODY),
        ("@v1", &[], Some("v1.1.0"), BODY),
        ("@1.0.0", &[], Some("v1.0.0"), b"old"),
        ("", &["--pre"], Some("v2.0.0-rc.1"), b"rc"),
        (pin.as_str(), &[], None, b"old"),
        (&format!(":v9{pin}"), &[], Some("v9"), b"old"),
    ] {
        let env = Env::new();
        let args = ["--json", "--asset", "runed", "--sums", "SHA256SUMS"];
        let ended = run(env.from(&server).args(args).args(more).arg(source(&server, rest)));
        assert_eq!(ended.code, 0, "{rest}: {}", ended.stderr);
        assert!(ended.stderr.contains("SHA256SUMS: written from the manifest of oci://"), "{}", ended.stderr);
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(answer["tag"].as_str(), tag, "{rest}");
        assert_eq!(fs::read(env.dir().join("runed")).unwrap(), body, "{rest}");
        let list = fs::read_to_string(env.dir().join("SHA256SUMS")).unwrap();
        assert_eq!(list, format!("{}  runed\n", Digest::of(body)));
        assert_eq!(env.names(), ["SHA256SUMS", "runed", "runed.origin.json"]);
        let record: Value = serde_json::from_slice(&fs::read(env.dir().join("runed.origin.json")).unwrap()).unwrap();
        assert_eq!(
            (record["version"].as_str(), record["source"].as_str()),
            (tag, Some(source(&server, rest).as_str()))
        );
    }
    let list = |rest: &str| run(Env::new().fetch().args(["--allow-http", "--list", &source(&server, rest)]));
    assert_eq!(list("").stdout, "v1.1.0\nv1.0.0\nlatest\n");
    assert_eq!(list("@v1.0").stdout, "v1.0.0\n");
}

#[test]
fn what_a_registry_lacks_is_a_no() {
    let mut shelf = Shelf::default();
    let runed = shelf.artifact("runed", BODY, &["v1.0.0", "two"]);
    let image = shelf.image(&[layer(&[File("bin/runed", BODY)])], &["image"]);
    shelf.manifest(&index(&[for_machine(image, "arm64"), for_machine(runed, "s390x")]), &["others"]);
    shelf.0.insert("tags/list?n=1000".into(), Reply::new(200, json!({ "tags": ["two", "image"] }).to_string()));
    let server = shelf.serve();
    for (rest, args, says) in [
        (":v2", &[][..], "no tag 'v2'; --list shows"),
        ("@v2.0.0", &[], "no tag 'v2.0.0'"),
        ("", &[], "no tag names a version; name one of two, image as :TAG"),
        (&format!("@sha256:{}", Digest::of(b"")), &[], "no manifest of that digest"),
        (":others", &[], "no image for x86_64-unknown-linux-gnu; it has linux/arm64, linux/s390x"),
        (":two", &["--asset", "none"], "no asset 'none'; it has runed"),
        (":two", &["--asset", "/bin/runed"], "no asset '/bin/runed'; it has runed"),
        (":two", &["--asset", "runed", "--sums", "other.txt"], "no asset 'other.txt'"),
        (":image", &[], "each by its path, such as --asset /usr/bin/NAME"),
        (":image", &["--asset", "*"], "each by its path"),
        (":image", &["--asset", "/bin/none"], "'/bin/none' is in none of its layers"),
    ] {
        let env = Env::new();
        let ended = run(env.from(&server).args(args).arg(source(&server, rest)));
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{rest}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{rest}: {}", ended.stderr);
        assert_eq!(env.names(), [""; 0]);
    }
}

/// What is wrong, how it is made wrong in what `:v1` is, and what is said of it.
type Lie<'l> = (&'l str, Box<dyn Fn(&mut Shelf) + 'l>, &'l str);

/// With `runed` asked for, each is refused and leaves nothing.
fn refused(lies: &[Lie]) {
    for (what, lie, says) in lies {
        let mut shelf = Shelf::default();
        lie(&mut shelf);
        let (env, server) = (Env::new(), shelf.serve());
        let ended = run(env.from(&server).args(["--retry", "0", "--asset", "*runed", &source(&server, ":v1")]));
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{what}: {}", ended.stderr);
        assert_eq!(env.names(), [""; 0], "{what}");
    }
}

#[test]
fn bytes_that_are_not_those_of_their_digest_are_refused() {
    let honest = |shelf: &mut Shelf| shelf.artifact("runed", BODY, &["v1"]);
    let entry = |shelf: &mut Shelf| {
        let entry = honest(shelf);
        (format!("manifests/{}", entry["digest"].as_str().unwrap()), for_machine(entry, "amd64"))
    };
    let lies: [Lie; 5] = [
        (
            "another blob",
            Box::new(|shelf| {
                honest(shelf);
                let key = format!("blobs/sha256:{}", Digest::of(BODY));
                shelf.0.insert(key, Reply::new(200, b"the bytes of the liar"));
            }),
            "the release says",
        ),
        (
            "a longer blob",
            Box::new(|shelf| {
                honest(shelf);
                let key = format!("blobs/sha256:{}", Digest::of(BODY));
                shelf.0.insert(key, Reply::new(200, [BODY, b"x"].concat()));
            }),
            "bytes come where",
        ),
        (
            "another manifest of the index",
            Box::new(|shelf| {
                let (key, entry) = entry(shelf);
                shelf.manifest(&index(&[entry]), &["v1"]);
                let liar = shelf.file("runed", b"the bytes of the liar");
                shelf.0.insert(key, Reply::new(200, content(&[liar]).to_string()));
            }),
            "the manifest's SHA-256 is",
        ),
        (
            "a size that is not the manifest's",
            Box::new(|shelf| {
                let (_, mut entry) = entry(shelf);
                entry["size"] = json!(5);
                shelf.manifest(&index(&[entry]), &["v1"]);
            }),
            "bytes, its index says 5",
        ),
        (
            "an index that is its own entry",
            Box::new(|shelf| {
                let inner =
                    json!({ "mediaType": INDEX, "digest": format!("sha256:{}", Digest::of(b"loop")), "size": 4 });
                let outer = index(&[for_machine(inner, "amd64")]);
                shelf.manifest(&outer, &["v1"]);
                let key = format!("manifests/sha256:{}", Digest::of(b"loop"));
                shelf.0.insert(key, Reply::new(200, outer.to_string()));
            }),
            "the manifest's SHA-256 is",
        ),
    ];
    refused(&lies);
}

#[test]
fn a_manifest_that_is_none_or_names_what_it_must_not_is_refused() {
    let page = Reply::new(200, "<html>log in</html>").header("Content-Type", "text/html");
    let lies: [Lie; 8] = [
        (
            "a huge manifest",
            Box::new(|shelf| drop(shelf.0.insert("manifests/v1".into(), Reply::new(200, vec![b' '; 5 << 20])))),
            "larger than 4M",
        ),
        ("a page", Box::new(|shelf| drop(shelf.0.insert("manifests/v1".into(), page.clone()))), "it is not JSON"),
        (
            "a name that leads out",
            Box::new(|shelf| drop(shelf.artifact("../runed", BODY, &["v1"]))),
            "refused as a file name",
        ),
        ("a hidden name", Box::new(|shelf| drop(shelf.artifact(".runed", BODY, &["v1"]))), "refused as a file name"),
        (
            "one name twice",
            Box::new(|shelf| {
                let files = [shelf.file("runed", BODY), shelf.file("runed", b"other")];
                shelf.manifest(&content(&files), &["v1"]);
            }),
            "two of its layers are called 'runed'",
        ),
        (
            "an index in an index",
            Box::new(|shelf| {
                let entry = for_machine(shelf.artifact("runed", BODY, &[]), "amd64");
                let inner = shelf.manifest(&index(&[entry]), &[]);
                shelf.manifest(&index(&[for_machine(inner, "amd64")]), &["v1"]);
            }),
            "an index inside of an index",
        ),
        (
            "two things at once",
            Box::new(|shelf| {
                let mut both = index(&[]);
                both["layers"] = json!([]);
                shelf.manifest(&both, &["v1"]);
            }),
            "a manifest and an index at once",
        ),
        (
            "Docker's first schema",
            Box::new(|shelf| drop(shelf.manifest(&json!({ "schemaVersion": 1, "fsLayers": [] }), &["v1"]))),
            "schema version is not 2",
        ),
    ];
    refused(&lies);
}

/// Why a pin: a registry that changes a tag and all below it is believed without one. The lies above are caught although it has none.
#[test]
fn only_a_pin_tells_a_tag_that_was_moved() {
    let mut shelf = Shelf::default();
    let honest = shelf.artifact("runed", BODY, &["v1"])["digest"].as_str().unwrap().to_owned();
    shelf.artifact("runed", b"the liar's", &["v1"]);
    let moved = shelf.0["manifests/v1"].clone();
    let mut liar = shelf.clone();
    liar.0.insert(format!("manifests/{honest}"), moved);
    for (shelf, rest, code, body) in [
        (&shelf, ":v1".to_owned(), 0, &b"the liar's"[..]),
        (&shelf, format!(":v1@{honest}"), 0, BODY),
        (&liar, format!(":v1@{honest}"), 3, b""),
        (&liar, format!("@{honest}"), 3, b""),
    ] {
        let (env, server) = (Env::new(), shelf.clone().serve());
        let ended = run(env.from(&server).args(["--asset", "runed", &source(&server, &rest)]));
        assert_eq!(ended.code, code, "{rest}: {}", ended.stderr);
        assert_eq!(fs::read(env.dir().join("runed")).unwrap_or_default(), body, "{rest}");
        assert!(code == 0 || ended.stderr.contains("was asked for; refused"), "{}", ended.stderr);
    }
}

#[test]
fn a_file_of_an_image_is_that_of_the_topmost_layer_that_has_it() {
    let mut shelf = Shelf::default();
    let low = layer(&[
        Folder("usr/"),
        Folder("usr/bin/"),
        File("usr/bin/runed", b"low"),
        File("usr/bin/rune", b"rune"),
        Link("bin", "usr/bin"),
    ]);
    let middle = tar(&[File("./usr/bin/runed", BODY), File("etc/.wh.runed", b"")]);
    let top = zstd::encode_all(
        &tar(&[Folder("usr"), File("usr/bin/runed.1", b"page"), File("usr/bin/.wh.other", b"")])[..],
        1,
    )
    .unwrap();
    let layers = [
        shelf.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", &low),
        shelf.blob(LAYER, &middle),
        shelf.blob(&format!("{LAYER}+zstd"), &top),
    ];
    let ours = shelf.manifest(&content(&layers), &[]);
    let other = shelf.image(&[layer(&[File("usr/bin/runed", b"arm")])], &[]);
    shelf.manifest(&index(&[for_machine(other, "arm64"), for_machine(ours, "amd64")]), &["v1.0.0"]);
    let (env, server) = (Env::new(), shelf.serve());
    let args = ["--asset", "/usr/bin/runed", "--asset", "/usr/bin/rune", "--sums", "SHA256SUMS"];
    let ended = run(env.from(&server).args(args).arg(source(&server, ":v1.0.0")));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "into/runed\ninto/rune\n"), "{}", ended.stderr);
    assert_eq!(fs::read(env.dir().join("runed")).unwrap(), BODY);
    assert_eq!(fs::read(env.dir().join("rune")).unwrap(), b"rune");
    let list = format!("{}  runed\n{}  rune\n", Digest::of(BODY), Digest::of(b"rune"));
    assert_eq!(fs::read_to_string(env.dir().join("SHA256SUMS")).unwrap(), list);
    assert_eq!(env.names(), ["SHA256SUMS", "rune", "rune.origin.json", "runed", "runed.origin.json"]);
    // What the upper layers have is not looked for in the lower ones.
    let before = server.seen().len();
    assert_eq!(run(env.from(&server).args(["--asset", "/usr/bin/runed", &source(&server, ":v1.0.0")])).code, 0);
    let asked = server.seen()[before..].iter().filter(|seen| seen.path.contains("/blobs/")).count();
    assert_eq!(asked, 2);
}

#[test]
fn tricks_in_layers_are_refused_by_name() {
    let file = || layer(&[File("usr/bin/runed", BODY)]);
    let bomb = || {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        bomb.write_all(&tar(&[File("usr/bin/runed", b"")])[..512]).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..4).for_each(|_| bomb.write_all(&zeros).unwrap());
        bomb.finish().unwrap()
    };
    let huge = || {
        let mut header = tar::Header::new_gnu();
        header.set_path("usr/bin/runed").unwrap();
        header.set_size(1 << 40);
        header.set_cksum();
        gzip(header.as_bytes())
    };
    let mut broken = file();
    let half = broken.len() / 2;
    broken.truncate(half);
    for (what, layers, code, says) in [
        ("removed", vec![file(), layer(&[File("usr/bin/.wh.runed", b"")])], 1, "was removed by a layer"),
        ("its folder removed", vec![file(), layer(&[File("usr/.wh.bin", b"")])], 1, "was removed by a layer"),
        ("its folder emptied", vec![file(), layer(&[File("usr/.wh..wh..opq", b"")])], 1, "was removed by a layer"),
        (
            "a link",
            vec![file(), layer(&[Link("usr/bin/runed", "/etc/passwd")])],
            1,
            "is a symbolic link, no regular file",
        ),
        (
            "a hard link",
            vec![file(), layer(&[Hard("usr/bin/runed", "etc/shadow")])],
            1,
            "is a hard link, no regular file",
        ),
        ("a folder", vec![file(), layer(&[Folder("usr/bin/runed/")])], 1, "is a folder"),
        (
            "below a link",
            vec![file(), layer(&[Link("usr/bin", "../evil")])],
            1,
            "/usr/bin is a symbolic link; name the path",
        ),
        (
            "below a link and there",
            vec![layer(&[Link("usr", "evil"), File("usr/bin/runed", BODY)])],
            1,
            "can't be followed",
        ),
        ("below a file", vec![file(), layer(&[File("usr", b"")])], 1, "/usr is a file"),
        (
            "twice",
            vec![layer(&[File("usr/bin/runed", BODY), File("./usr//bin/runed", b"x")])],
            3,
            "it holds 'usr/bin/runed' twice",
        ),
        (
            "a way out",
            vec![layer(&[File("usr/bin/runed", BODY), File("../../etc/cron.d/x", b"x")])],
            3,
            "points outside",
        ),
        ("cut off", vec![broken], 3, "is refused: it is cut off"),
        ("no archive", vec![gzip(b"hello")], 3, "is refused: "),
        ("a size that no file has", vec![huge()], 3, "larger than"),
        ("behind its end", vec![bomb()], 0, ""),
        (
            "more behind its end",
            vec![gzip(&[&tar(&[File("usr/bin/runed", BODY)])[..], b"more"].concat())],
            3,
            "goes on behind its end",
        ),
    ] {
        let mut shelf = Shelf::default();
        shelf.image(&layers, &["v1"]);
        let (env, server) = (Env::new(), shelf.serve());
        let ended = run(env.from(&server).args(["--asset", "/usr/bin/runed", &source(&server, ":v1")]));
        assert_eq!(ended.code, code, "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{what}: {}", ended.stderr);
        assert!(code == 0 || env.names().is_empty(), "{what}: {:?}", env.names());
    }
}

#[test]
fn a_layer_is_looked_into_only_when_its_digest_is_right() {
    let mut shelf = Shelf::default();
    let honest = layer(&[File("usr/bin/runed", BODY)]);
    shelf.image(std::slice::from_ref(&honest), &["v1"]);
    let mut liar = honest.clone();
    // The size stays; what is broken would be told by gzip, if anybody looked.
    let last = liar.len() - 9;
    liar[last] ^= 1;
    shelf.0.insert(format!("blobs/sha256:{}", Digest::of(&honest)), Reply::new(200, liar));
    let (env, server) = (Env::new(), shelf.serve());
    let ended = run(env.from(&server).args(["--asset", "/usr/bin/runed", &source(&server, ":v1")]));
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("the release says"), "{}", ended.stderr);
    assert_eq!(env.names(), [""; 0]);
}

#[test]
fn a_list_of_tags_never_leads_away_nor_on_for_ever() {
    for (next, says) in [
        ("<http://localhost:1/v2/o/r/tags/list>; rel=\"next\"", "another host"),
        ("</v2/o/r/tags/list?n=1000>; rel=\"next\"", "more than 50 pages"),
    ] {
        let server = Server::start(move |_, _| Reply::new(200, r#"{"tags": ["v1"]}"#).header("Link", next));
        let ended = run(Env::new().from(&server).arg(source(&server, "")));
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    let server = Server::start(|_, _| Reply::new(200, r#"{"tags": ["../../x", "v1?y"]}"#));
    assert_eq!(run(Env::new().from(&server).arg(source(&server, ""))).code, 1);
}

#[test]
fn plain_http_is_for_who_asks_for_it() {
    let server = Shelf::default().serve();
    let ended = run(Env::new().fetch().args(["--retry", "0", &source(&server, ":v1")]));
    assert!(ended.code != 0 && server.seen().is_empty(), "{}", ended.stderr);
}
