//! Where a release lies and what it is called: registries, indexes of versions, names and versions.

use upswap::sys::net::url::Url;
use upswap::words::digest::Digest;
use upswap::words::index;
use upswap::words::named_version::{Named, named};
use upswap::words::oci::{self, Challenge, Manifest, Reference, WantedManifest};
use upswap::words::pattern::Pattern;
use upswap::words::printed as words_printed;
use upswap::words::release::{Tag, Version, same_version};
use upswap::words::target::{Libc, Target};

use super::{first_line, text};

/// The first line is a version, the second a file's name.
pub fn named_version(bytes: &[u8]) {
    let Some((version, name)) = text(bytes).and_then(|text| text.split_once('\n')) else { return };
    let said = named(name, version);
    if let Named::Other(other) = &said {
        assert!(name.contains(other.as_str()), "it is in the name");
        assert_eq!(named(name, other), Named::This, "{name} is of {other}, as it says");
    }
    // Of the whole tag this need not hold: in `x5.2.3rc-1.2.3` the last numbers can be read in two ways.
    let bare = Tag::new(version);
    let bare = bare.version_text();
    assert!(matches!(named(bare, bare), Named::This | Named::Nothing), "{bare} is itself");
    if said == Named::Nothing && named("1.2.3", version) != Named::Nothing {
        assert_eq!(named(name, "1.2.3"), Named::Nothing, "{name} holds no version of any kind");
    }
}

/// The first line is what a registry asks for, then follow its name and that of who gives tokens.
pub fn oci_challenge(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let (header, rest) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(Challenge::Bearer { realm, service }) = Challenge::read(header) {
        assert!(realm.len() + service.map_or(0, |service| service.len()) <= header.len());
        let _ = Url::parse(&realm);
    }
    let (registry, realm) = rest.split_once('\n').unwrap_or((rest, ""));
    if oci::same_site(registry, realm) {
        let shared = |host: &str| host.rsplit('.').take(2).map(str::to_owned).collect::<Vec<_>>();
        let below = realm.strip_suffix(registry).is_some_and(|front| front.is_empty() || front.ends_with('.'));
        assert!(below || shared(registry) == shared(realm), "{registry} shows {realm} its password");
    }
    assert!(oci::same_site(registry, registry));
}

pub fn oci_manifest(bytes: &[u8]) {
    let text = bytes.to_ascii_lowercase();
    let digest_is_said = |digest: Digest| {
        // JSON may write any character as an escape.
        bytes.contains(&b'\\') || text.windows(64).any(|part| part == digest.to_string().as_bytes())
    };
    match Manifest::parse(bytes) {
        Ok(Manifest::Index(entries)) => {
            assert!(entries.iter().all(|entry| digest_is_said(entry.digest)));
            for libc in [Libc::Gnu, Libc::Musl] {
                let target = Target::native(libc);
                if let Some(chosen) = oci::for_target(&entries, &target) {
                    assert!(entries.contains(chosen));
                    let here = chosen.platform.as_ref().map(|p| (p.os.as_str(), p.architecture.as_str()));
                    assert!(here.map_or(entries.len() == 1, |here| here == (target.os(), target.goarch())));
                }
            }
            let _ = oci::platforms(&entries);
        }
        Ok(Manifest::Content(content)) => {
            assert!(content.layers.iter().all(|layer| digest_is_said(layer.digest)));
            let mut titles: Vec<_> = content.files().map(|(title, _)| title).collect();
            let count = titles.len();
            titles.sort_unstable();
            titles.dedup();
            assert_eq!(titles.len(), count, "each name once");
            assert!(content.file_system().is_empty() || count == 0, "an image or files, never both");
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

pub fn oci_reference(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(reference) = Reference::parse(text) else { return };
    let Reference { host, repository, wanted } = &reference;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/._-".contains(&b);
    assert!(repository.bytes().all(allowed) && repository.split('/').all(|part| !matches!(part, "" | "." | "..")));
    assert!(!host.contains(['/', '@', '?', '#', '%', '\\']), "{host}");
    // What may stand in an address stays where it is put.
    if let Ok(url) = Url::parse(&format!("https://{host}/v2/{repository}/manifests/latest")) {
        assert!(host.starts_with(url.host()) && url.file_name() == "latest", "{host}");
    }
    let behind = match wanted {
        WantedManifest::Selected(selector) => format!("@{selector}"),
        WantedManifest::Tagged(tag) => {
            assert!(oci::is_tag(tag));
            format!(":{tag}")
        }
        WantedManifest::Pinned(digest, tag) => {
            format!("{}@sha256:{digest}", tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default())
        }
    };
    let again = Reference::parse(&format!("//{host}/{repository}{behind}"));
    assert_eq!(again.as_ref(), Ok(&reference), "what is written is read again as the same");
}

/// What a program prints.
pub fn printed(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Some(version) = words_printed::version(text) else { return };
    assert!(!version.contains(char::is_whitespace) && text.contains(version));
    assert!(version.parse::<Version>().is_ok(), "{version} is a version");
    assert_eq!(words_printed::version(version), Some(version), "it is found again in itself");
    assert_eq!(same_version(version, version), Some(true));
}

/// The first line is what the names in a checksum list are like, the rest is an index.
pub fn version_index(bytes: &[u8]) {
    let (form, document) = first_line(bytes);
    let target = Target::native(Libc::Gnu);
    let names: Vec<Pattern> = text(form).and_then(|form| form.parse().ok()).into_iter().collect();
    let Ok(entries) = index::read(document, &names, &target) else { return };
    assert!(entries.len() <= 50_000);
    for entry in &entries {
        let tag = entry.tag.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
        assert!(!tag.is_empty() && tag.chars().all(plain) && !tag.contains("..") && tag != ".", "{tag}");
    }
}

/// Three lines, a version each: their order is total, and what is one version is so both ways.
pub fn version_order(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let texts: Vec<&str> = text.lines().take(3).collect();
    let versions: Vec<Version> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    for (text, other) in texts.iter().zip(texts.iter().skip(1)) {
        assert_eq!(same_version(text, other), same_version(other, text), "{text} {other}");
    }
    for a in &versions {
        assert!(a.cmp(a).is_eq() && a.is_same_as(a) && a.is_newer_than(a) == Some(false));
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            assert_eq!(a == b, a.cmp(b).is_eq());
            assert!(a != b || a.is_same_as(b));
            assert!(a.is_newer_than(b) != Some(true) || (a > b && b.is_newer_than(a) == Some(false)));
            assert!(!a.is_same_as(b) || a.is_prerelease() == b.is_prerelease());
            for c in &versions {
                assert!(!(a <= b && b <= c) || a <= c, "{a:?} {b:?} {c:?}");
                assert!(a != b || a.cmp(c) == b.cmp(c));
            }
        }
    }
}
