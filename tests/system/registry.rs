//! fetch from Debian's docker-registry, which none of us wrote: an artifact, and files out of an image.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use serde_json::{Value, json};
use upswap::words::digest::Digest;

use crate::env::Env;
use crate::material;

const OCI: &str = "application/vnd.oci.image";
const DOCKER: &str = "application/vnd.docker";

/// What is to be pushed into the repository `o/r`: `blobs/HEX`, and `manifests/TAG` with its media type in `manifests/TAG.type`.
struct Push<'p> {
    dir: &'p Path,
}

impl Push<'_> {
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::create_dir_all(self.dir.join("blobs")).unwrap();
        fs::write(self.dir.join("blobs").join(digest.to_string()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
    }

    fn manifest(&self, order: u8, name: &str, manifest: &Value) -> Value {
        let (dir, bytes) = (self.dir.join("manifests"), manifest.to_string());
        let media_type = manifest["mediaType"].as_str().unwrap();
        let digest = format!("sha256:{}", Digest::of(bytes.as_bytes()));
        let name = if name.is_empty() { digest.as_str() } else { name };
        fs::create_dir_all(&dir).unwrap();
        // What an index names has to be there before it.
        fs::write(dir.join(format!("{order}.{name}")), &bytes).unwrap();
        fs::write(dir.join(format!("{order}.{name}.type")), media_type).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// As ORAS does it: an empty configuration, and a layer for each file.
    fn artifact(&self, tag: &str, files: &[(&str, &[u8])]) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let file = |(title, bytes): &(&str, &[u8])| {
            let mut layer = self.blob("application/octet-stream", bytes);
            layer["annotations"] = json!({ "org.opencontainers.image.title": title });
            layer
        };
        let layers: Vec<_> = files.iter().map(file).collect();
        let media_type = format!("{OCI}.manifest.v1+json");
        self.manifest(
            1,
            tag,
            &json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers }),
        )
    }

    fn oci_image(&self, architecture: &str, layers: &[Value]) -> Value {
        let config =
            json!({ "os": "linux", "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = self.blob(&format!("{OCI}.config.v1+json"), config.to_string().as_bytes());
        let media_type = format!("{OCI}.manifest.v1+json");
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
        let mut entry = self.manifest(1, "", &manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    }
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut gzip, bytes).unwrap();
    gzip.finish().unwrap()
}

/// What the registry of Debian is started with, and what lets in who has a name there.
const CONFIGURATION: &str = "version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}
http: {addr: '127.0.0.1:5000'}";
const GUARDED: &str = "auth: {htpasswd: {realm: here, path: /etc/docker/registry/htpasswd}}";

/// A host with the registry on it and all in it that `fill` puts into `push`. `guard` is the last line of its configuration.
fn host_with(guard: &str, fill: impl FnOnce(&Push<'_>)) -> Env {
    let dir = tempfile::tempdir().unwrap();
    fill(&Push { dir: dir.path() });
    let host = Env::boot().with_tools();
    host.copy(dir.path(), "/srv/push");
    host.run(&format!(
        "printf '%s\\n' \"{CONFIGURATION}\" \"{guard}\" >/etc/docker/registry/config.yml
        perl -e 'print \"me:\", crypt(\"secret\", q($2y$05$abcdefghijklmnopqrstuu)), \"\\n\"' >/etc/docker/registry/htpasswd
        systemctl start docker-registry
        at=http://127.0.0.1:5000/v2
        curl() {{ command curl -u me:secret \"$@\"; }}
        for turn in $(seq 200); do curl -fsS -o /dev/null $at/ 2>/dev/null && break; sleep 0.05; done
        cd /srv/push/blobs
        for blob in *; do
            to=$(curl -fsS -X POST -D - -o /dev/null $at/o/r/blobs/uploads/ | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
            curl -fsS -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$blob \"$to&digest=sha256:$blob\"
        done
        cd /srv/push/manifests
        for type in *.type; do
            file=${{type%.type}}
            curl -fsS -X PUT -H \"Content-Type: $(cat $type)\" --data-binary @$file $at/o/r/manifests/${{file#*.}}
        done"
    ))
    .success();
    host
}

#[test]
fn an_artifact_goes_from_the_registry_through_the_chain() {
    let runed = fs::read(material::program("runed")).unwrap();
    let rune = fs::read(material::program("rune")).unwrap();
    let mut pin = String::new();
    let host = host_with(GUARDED, |push| {
        pin = push.artifact("v1.0.0", &[("runed", b"#!/bin/sh\n")])["digest"].as_str().unwrap().to_owned();
        push.artifact("v1.2.0", &[("runed", &runed), ("rune", &rune)]);
        push.artifact("v2.0.0-rc.1", &[("runed", b"rc")]);
        push.artifact("nightly", &[("runed", b"night")]);
    });
    let at = "oci://127.0.0.1:5000/o/r";
    let stranger = host.run(&format!("fetch --allow-http --list {at}")).code(3);
    assert!(stranger.stderr().contains("set OCI_USERNAME and OCI_PASSWORD"), "{}", stranger.stderr());
    let login = "export OCI_USERNAME=me OCI_PASSWORD=secret;";
    let listed = host.run(&format!("{login} fetch --allow-http --list {at}")).success();
    assert_eq!(listed.stdout(), "v1.2.0\nv1.0.0\nnightly");
    host.run(&format!("{login} fetch --allow-http --newer-than v1.2.0 --asset runed {at}")).code(1);
    let bytes = |rest: &str, code| {
        host.run(&format!(
            "{login} rm -rf /tmp/new; fetch --allow-http --into /tmp/new --asset runed {at}{rest}; head -c9 /tmp/new/runed"
        ))
        .code(code)
        .stdout()
        .to_owned()
    };
    assert_eq!(bytes(":nightly", 0), "/tmp/new/runed\nnight");
    assert_eq!(bytes("@1.0", 0), "/tmp/new/runed\n#!/bin/sh");
    assert_eq!(bytes(&format!("@{pin}"), 0), "/tmp/new/runed\n#!/bin/sh");
    assert_eq!(bytes(&format!("@sha256:{}", Digest::of(b"another")), 1), "");
    // The registry's own store, changed behind its back: what it then serves is not what was asked for.
    host.run(&format!(
        "hex={}; blob=/var/lib/docker-registry/docker/registry/v2/blobs/sha256/$(echo $hex | cut -c1-2)/$hex/data
        cp $blob /tmp/kept; sed -i 's/\"schemaVersion\":2/\"schemaVersion\": 2/' $blob; ! cmp -s $blob /tmp/kept",
        pin.trim_start_matches("sha256:")
    ))
    .success();
    assert_eq!(bytes(&format!("@{pin}"), 3), "");

    let chain = host.run(&format!(
        "{login} fetch --allow-http --asset runed --asset rune --sums SHA256SUMS {at}@v1 |
            verify --sums SHA256SUMS --files-from - | swapbin --name runed -t /usr/local/bin --files-from -
        runed --version"
    ));
    let chain = chain.success();
    assert!(chain.stdout().starts_with("/usr/local/bin/runed\n/usr/local/bin/rune\n"), "{}", chain.stdout());
    assert!(chain.stderr().contains("written from the manifest of oci://127.0.0.1:5000/o/r@v1"), "{}", chain.stderr());
    let listed = host.run("rollback --list runed --json").success();
    assert!(listed.stdout().contains("v1.2.0"), "{}", listed.stdout());
}

#[test]
fn a_file_comes_out_of_an_image_s_layers_for_its_machine() {
    let host = host_with("", |push| {
        let low = tar(&[("usr/bin/tool", b"low"), ("usr/bin/old", b"old"), ("etc/motd", b"hello")]);
        let low = push.blob(&format!("{OCI}.layer.v1.tar+gzip"), &gzip(&low));
        let top = tar(&[("usr/bin/tool", b"top"), ("usr/bin/.wh.old", b"")]);
        let top = push.blob(&format!("{OCI}.layer.v1.tar+zstd"), &zstd::encode_all(&top[..], 1).unwrap());
        let ours = push.oci_image("amd64", &[low.clone(), top]);
        let theirs = push.blob(&format!("{OCI}.layer.v1.tar"), &tar(&[("usr/bin/tool", b"arm")]));
        let theirs = push.oci_image("arm64", &[low.clone(), theirs]);
        let media_type = format!("{OCI}.index.v1+json");
        push.manifest(
            2,
            "v1.0.0",
            &json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [ours, theirs] }),
        );
        let mut docker = low;
        docker["mediaType"] = json!(format!("{DOCKER}.image.rootfs.diff.tar.gzip"));
        let config = push.blob(&format!("{DOCKER}.container.image.v1+json"), b"{}");
        let media_type = format!("{DOCKER}.distribution.manifest.v2+json");
        let docker = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [docker] });
        push.manifest(1, "docker", &docker);
    });
    let file = |path: &str, machine: &str, tag: &str, code| {
        let ended = host.run(&format!(
            "rm -rf /tmp/new; cd /tmp
            fetch --allow-http --into new --target {machine}-unknown-linux-gnu --asset {path} oci://127.0.0.1:5000/o/r{tag} >&2
            cat new/*[!n]"
        ));
        ended.code(code)
    };
    assert_eq!(file("/usr/bin/tool", "x86_64", "", 0).stdout(), "top");
    assert_eq!(file("/usr/bin/tool", "aarch64", "@v1", 0).stdout(), "arm");
    assert_eq!(file("/etc/motd", "x86_64", ":v1.0.0", 0).stdout(), "hello");
    assert_eq!(file("/usr/bin/tool", "x86_64", ":docker", 0).stdout(), "low");
    assert!(file("/usr/bin/old", "x86_64", "", 1).stderr().contains("'/usr/bin/old' was removed by a layer"));
    assert!(file("/usr/bin/tool", "s390x", "", 1).stderr().contains("it has linux/amd64, linux/arm64"));
}
