//! Every parser that reads what others wrote, each behind one function that takes bytes. It must neither panic nor hang,
//! whatever the bytes are, and it checks what must hold of what it read.
//!
//! Those that speak of evidence, of registries and of where a release lies are in `parsers/`.
//!
//! The fuzzer (`make fuzz`) and the replay of its finds (`tests/cli/corpora.rs`) call these same functions. A further
//! parser is a line in [`PARSERS`] and its function.

#[path = "parsers/evidence.rs"]
mod evidence;
#[path = "parsers/releases.rs"]
mod releases;

use std::ffi::OsStr;
use std::io::{Cursor, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use upswap::steps::artifact::evidence::{Evidence, Given, Proven, Subject};
use upswap::steps::artifact::{extract, origin};
use upswap::steps::generation::stage;
use upswap::sys::Host;
use upswap::sys::landing::Whole;
use upswap::sys::net::{Header, HeaderMap, no_rest, url, validator};
use upswap::words::acl;
use upswap::words::call::Call;
use upswap::words::digest::Digest;
use upswap::words::duration::Span;
use upswap::words::elf::{Machine, Program};
use upswap::words::filecaps::{FileCaps, save};
use upswap::words::github;
use upswap::words::ldcache::Cache;
use upswap::words::member::{self, Wanted};
use upswap::words::minisign::{Key, Signature};
use upswap::words::name::Name;
use upswap::words::pattern::{Pattern, Values};
use upswap::words::privileges::Sets;
use upswap::words::proof::Proof;
use upswap::words::release::{AssetName, Channel, Selector, Tag, Tagged};
use upswap::words::size::Size;
use upswap::words::sums::Sums;
use upswap::words::target::{Libc, Target};
use upswap::words::unit::file::{Assignment, File as UnitFile};
use upswap::words::unit::{builtin, carry, diff, exec, flags, keys, reading::Reading, render};

/// Where the bytes for a parser go in.
pub type Entry = fn(&[u8]);

/// What is fuzzed and replayed: a name, which is also that of its corpus, and where its bytes go in.
pub const PARSERS: &[(&str, Entry)] = &[
    ("acl", acl_attribute),
    ("allowed-signers", evidence::allowed_signers),
    ("archive", archive),
    ("call", call),
    ("elf", elf),
    ("filecaps", filecaps),
    ("filecaps-save", filecaps_save),
    ("gpg-keyring", evidence::gpg_keyring),
    ("gpgv-status", evidence::gpgv_status),
    ("header-line", header_line),
    ("ldcache", ldcache),
    ("member", member_choice),
    ("minisign-key", minisign_key),
    ("minisign-signature", minisign_signature),
    ("named-version", releases::named_version),
    ("oci-challenge", releases::oci_challenge),
    ("oci-manifest", releases::oci_manifest),
    ("oci-reference", releases::oci_reference),
    ("origin", origin_record),
    ("pattern", pattern),
    ("policy", evidence::policy),
    ("printed", releases::printed),
    ("proc-status", proc_status),
    ("proof", proof),
    ("range", range),
    ("release-json", release_json),
    ("retry-after", retry_after),
    ("selector", selector),
    ("span-size-mode", span_size_mode),
    ("ssh-key", evidence::ssh_key),
    ("ssh-signature", evidence::ssh_signature),
    ("sums", sums),
    ("target", target),
    ("unit", unit),
    ("unit-builtin", unit_builtin),
    ("unit-carry", unit_carry),
    ("unit-diff", unit_diff),
    ("unit-exec", unit_exec),
    ("unit-render", unit_render),
    ("url", url_and_location),
    ("version-index", releases::version_index),
    ("version-order", releases::version_order),
];

fn acl_attribute(bytes: &[u8]) {
    let Some(mode) = bytes.first().map(|b| u32::from(*b) & 0o777) else { return };
    let known = acl::writers(bytes).is_some();
    let changed = acl::with_mode(bytes, mode);
    assert_eq!(changed.len(), bytes.len(), "a mode adds no entry and takes none away");
    assert_eq!(acl::writers(&changed).is_some(), known);
}

/// An archive of any kind: what is taken out of it is one member that any reader finds there.
fn archive(bytes: &[u8]) {
    let Ok((digest, size)) = taken(bytes, "rune") else { return };
    assert!(size <= 1 << 30);
    // What is no archive is its own only member; of a tar, the tar crate's reading must see that file too, and once.
    let bare = digest == Digest::of(bytes);
    if !bare && bytes.get(257..262) == Some(b"ustar".as_slice()) && !bytes.starts_with(b"PK") {
        let found = regular_members(bytes, b"rune");
        assert_eq!(found.len(), 1, "one member that is meant: {found:?}");
        assert_eq!(found.first().map(|(_, found)| *found), Some(digest), "its bytes");
    }
}

/// The regular members whose normal path ends in `name`, as the `tar` crate reads them.
fn regular_members(bytes: &[u8], name: &[u8]) -> Vec<(Vec<u8>, Digest)> {
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { break };
        let Ok(path) = member::normal(&entry.path_bytes()) else { continue };
        if entry.header().entry_type().is_file() && path.rsplit(|b| *b == b'/').next() == Some(name) {
            let mut copy = Vec::new();
            if entry.read_to_end(&mut copy).is_ok() {
                found.push((path, Digest::of(&copy)));
            }
        }
    }
    found
}

/// What [`extract`] takes from `bytes` as `wanted`: its digest and its size.
pub fn taken(bytes: &[u8], wanted: &str) -> Result<(Digest, u64), Box<dyn std::error::Error>> {
    let host = Host::below(scratch());
    let wanted = [Wanted::parse(wanted)?];
    let contents = extract::contents(&host, &mut proven(bytes)?, OsStr::new("a"), &wanted)?;
    let mut picked = extract::pick(&wanted, &[contents])?;
    let (_, one) = picked.pop().ok_or("nothing was picked")?;
    Ok((one.digest(), one.size()))
}

/// These bytes, proven by their own digest.
pub fn proven(bytes: &[u8]) -> Result<Proven, Box<dyn std::error::Error>> {
    let copy = tempfile::tempfile_in(scratch())?;
    let evidence = Evidence::given(Given { sha256: Some(Digest::of(bytes)), ..Given::default() })?;
    let subject = Subject { place: Path::new("a"), name: OsStr::new("a") };
    Ok(evidence.judge(&Host::below(scratch()))?.prove(subject, bytes, copy, bytes.len() as u64)??.0)
}

/// A folder for files without a name: `UPSWAP_SCRATCH`, which fuzz/run puts into memory, or one below `target`.
fn scratch() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::var_os("UPSWAP_SCRATCH")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/parsers"), PathBuf::from);
        std::fs::create_dir_all(&dir).expect("a folder for the copies");
        dir
    })
}

/// What is to be run of a file: its words, quoted, are read again as the same.
fn call(bytes: &[u8]) {
    let Ok(call) = Call::parse(OsStr::from_bytes(bytes)) else { return };
    let quoted = |bytes: &[u8]| {
        let parts: Vec<&[u8]> = bytes.split(|b| *b == b'\'').collect();
        [b"'", parts.join(&b"'\\''"[..]).as_slice(), b"'"].concat()
    };
    let mut words: Vec<Vec<u8>> = call.words.iter().map(|word| quoted(word.as_bytes())).collect();
    if let Some(file) = &call.file {
        let name = file.as_os_str().as_bytes();
        assert!(!name.contains(&b'/') && !matches!(name, b"" | b"." | b".."), "a name stays in its folder: {name:?}");
        words.insert(0, quoted(&[name, b":"].concat()));
    }
    let again = Call::parse(OsStr::from_bytes(&words.join(&b' ')));
    assert_eq!(again.ok().as_ref(), Some(&call), "what is quoted is read again as the same");
    let _ = call.asks_version();
}

fn elf(bytes: &[u8]) {
    if let Ok(program) = Program::read(Cursor::new(bytes)) {
        let _ = (program.newest_like("GLIBC_2.0"), program.machine.to_string());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Machine>();
    }
}

fn filecaps(bytes: &[u8]) {
    let _ = FileCaps::describe(bytes);
    if let Ok(caps) = FileCaps::from_bytes(bytes) {
        let text = caps.to_string();
        assert_eq!(FileCaps::from_bytes(&caps.to_bytes()).ok(), Some(caps), "{text}");
    }
    if let Some(Ok(caps)) = text(bytes).map(str::parse::<FileCaps>) {
        assert_eq!(caps.to_string().parse::<FileCaps>().ok(), Some(caps), "what is written is read again as the same");
        assert_eq!(FileCaps::from_bytes(&caps.to_bytes()).ok(), Some(caps));
    }
}

fn filecaps_save(bytes: &[u8]) {
    if let Ok(saved) = save::read(bytes) {
        assert_eq!(save::read(&save::write(&saved)).ok(), Some(saved), "what is written is read again as the same");
    }
}

fn header_line(bytes: &[u8]) {
    if let Some(line) = text(bytes)
        && let Ok(header) = Header::line(line)
    {
        let value = line.split_once(':').map_or("", |(_, value)| value.trim());
        assert!(value.is_empty() || format!("{header:?}").ends_with(": …"), "a header's value is not shown");
    }
}

/// The first line is a library's name, the rest is a cache of ldconfig(8).
fn ldcache(bytes: &[u8]) {
    let (name, cache) = first_line(bytes);
    let read = Cache::parse(cache);
    for name in ["libc.so.6", text(name).unwrap_or_default()] {
        for path in read.paths(name) {
            assert!(path.len() < 4096 && !path.contains(&0), "a path is one text of the cache");
            let held = [path, b"\0"].concat();
            assert!(cache.windows(held.len()).any(|part| part == held), "{name} at {path:?}");
        }
    }
}

/// The first line is what is wanted, the rest is a member's path.
fn member_choice(bytes: &[u8]) {
    let (wanted, path) = first_line(bytes);
    if let Ok(normal) = member::normal(path) {
        assert_eq!(member::normal(&normal).as_ref(), Ok(&normal), "normal is normal");
        let parts = || normal.split(|b| *b == b'/');
        assert!(normal.is_empty() || parts().all(|part| !matches!(part, b"" | b"." | b"..")), "{normal:?}");
        if let Ok(wanted) = Wanted::parse(OsStr::from_bytes(wanted)) {
            let _ = wanted.is_meant_by(&normal);
            let _ = wanted.is_meant_by_bare(OsStr::from_bytes(path), true);
        }
    }
}

fn minisign_key(bytes: &[u8]) {
    if let Ok(key) = Key::from_file(bytes) {
        let _ = key.to_string();
    }
    let _ = text(bytes).and_then(Key::from_base64);
}

/// A signature: it is never right for these bytes, which were not signed.
fn minisign_signature(bytes: &[u8]) {
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let Some(key) = Key::from_base64(KEY) else { panic!("the key is one") };
    if let Ok(signature) = Signature::parse(bytes)
        && let Ok(mut check) = signature.check(&key)
    {
        check.update(b"nobody signed this");
        assert!(check.finish().is_err());
    }
}

fn origin_record(bytes: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<origin::Origin>(bytes) {
        let written = serde_json::to_vec(&record).expect("a record can be written");
        assert_eq!(serde_json::from_slice::<origin::Origin>(&written).ok(), Some(record));
    }
}

/// The first line is a pattern, the second a tag, the third a name.
fn pattern(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (pattern, tag, name) = (lines.next(), lines.next().map(Tag::new), lines.next().unwrap_or_default());
    let Some(Ok(pattern)) = pattern.map(str::parse::<Pattern>) else { return };
    let target = Target::native(Libc::Gnu);
    for tag in [None, tag.as_ref()] {
        let values = Values { tag, target: &target };
        let _ = (pattern.shown(values), pattern.matches(name, values));
        if let Some(literal) = pattern.literal(values) {
            assert!(pattern.matches(&literal, values), "a pattern stands for its one text '{literal}'");
        }
    }
}

fn proc_status(bytes: &[u8]) {
    let _ = text(bytes).and_then(Sets::read);
}

fn proof(bytes: &[u8]) {
    if let Ok(proof) = serde_json::from_slice::<Proof>(bytes) {
        let written = serde_json::to_vec(&proof).expect("a proof can be written");
        assert_eq!(serde_json::from_slice::<Proof>(&written).ok(), Some(proof));
    }
}

/// The first line is where to go on, the length of the whole and the server's name for it, then follow lines of an answer.
fn range(bytes: &[u8]) {
    const KNOWN: [&str; 6] = ["content-range", "content-length", "etag", "last-modified", "date", "transfer-encoding"];
    let (asked, head) = first_line(bytes);
    let mut asked = text(asked).unwrap_or_default().splitn(3, ' ');
    let mut number = || asked.next().and_then(|number| number.parse::<u64>().ok());
    let (Some(from), Some(len)) = (number(), number()) else { return };
    let whole = Whole { validator: asked.next().unwrap_or_default().to_owned(), len };
    let mut headers = HeaderMap::new();
    for line in head.split(|b| *b == b'\n') {
        let Some(at) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
        let known = KNOWN.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if let (Some(known), Ok(value)) = (known, value.try_into()) {
            headers.append(*known, value);
        }
    }
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if no_rest(&headers, &whole, from).is_none() {
        let (first, last, all) = content_range(said("content-range")).expect("the part is named");
        assert_eq!((first, last.checked_add(1), all), (from, Some(len), len), "just the rest of it");
        assert!(first <= last);
        let name = if whole.validator.starts_with('"') { "etag" } else { "last-modified" };
        assert!(!headers.contains_key(name) || said(name) == whole.validator, "of the same file");
    }
    if let Some(named) = validator(&headers) {
        assert!(named.len() <= 1024 && [said("etag"), said("last-modified")].contains(&named.as_str()));
        assert!(named.starts_with('"') || named.ends_with(" GMT"), "a weak name is none: {named}");
        headers.remove("content-length");
        headers.insert("content-range", "bytes 40-99/100".parse().expect("a header"));
        assert_eq!(no_rest(&headers, &Whole { validator: named, len: 100 }, 40), None, "it is its own rest");
    }
}

/// `bytes FIRST-LAST/ALL` (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (part, all) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, all.parse().ok()?))
}

/// A page of GitHub's list of releases, or a single one.
fn release_json(bytes: &[u8]) {
    let _ = github::release(bytes);
    let Ok(releases) = github::releases(bytes) else { return };
    let target = Target::native(Libc::Gnu);
    for release in &releases {
        assert!(!release.tag.chars().any(|c| c.is_whitespace() || c.is_control()));
        let names: Vec<&str> = release.assets.iter().map(|asset| asset.name.as_str()).collect();
        let _ = target.choose(&names);
        for name in names {
            if let Ok(name) = name.parse::<AssetName>() {
                let path = Path::new("d").join(name.as_str());
                assert_eq!(path.parent(), Some(Path::new("d")), "a name stays in its folder");
            }
        }
    }
}

fn retry_after(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        let _ = upswap::sys::net::moment(text);
    }
}

/// The first line is a selector, the others are tags.
fn selector(bytes: &[u8]) {
    struct Released(Tag);
    impl Tagged for Released {
        fn tag(&self) -> Option<&Tag> {
            Some(&self.0)
        }
        fn is_marked_pre(&self) -> bool {
            false
        }
    }
    let Some(text) = text(bytes) else { return };
    let mut lines = text.lines();
    let Some(Ok(selector)) = lines.next().map(str::parse::<Selector>) else { return };
    assert_eq!(selector.to_string().parse::<Selector>().ok().map(|s| s.to_string()), Some(selector.to_string()));
    let mut releases: Vec<_> = lines.take(50).map(|tag| Released(Tag::new(tag))).collect();
    for channel in [Channel::Stable, Channel::WithPre] {
        if let Some(picked) = selector.pick(&releases, channel) {
            assert!(selector.admits(picked, channel));
        }
    }
    upswap::words::release::newest_first(&mut releases);
    let versions: Vec<_> = releases.iter().map(|r| r.0.version().cloned()).collect();
    assert!(versions.windows(2).all(|two| two[0] >= two[1]), "newest first");
    let _ = text.parse::<Name>();
}

fn span_size_mode(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let _ = text.parse::<Span>();
    let _ = stage::parse_mode(text);
    let _ = keys::span(text);
    if let Ok(size) = text.parse::<Size>() {
        let shown = size.to_string();
        assert_eq!(shown.trim_end_matches(" bytes").parse::<Size>().ok(), Some(size), "{shown}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse::<Digest>().ok(), Some(digest));
    }
}

/// The first line is a file's name, the rest is the list.
fn sums(bytes: &[u8]) {
    let (name, list) = first_line(bytes);
    let Ok(sums) = Sums::parse(list) else { return };
    let Ok(listed) = sums.digests_of(OsStr::from_bytes(name), OsStr::new("SHA256SUMS")) else { return };
    let text = list.to_ascii_lowercase();
    let digests = [listed.sha256.map(|digest| digest.to_string()), listed.sha512.map(|digest| digest.to_string())];
    for digest in digests.into_iter().flatten() {
        assert!(text.windows(digest.len()).any(|part| part == digest.as_bytes()), "the list holds the digest");
    }
}

/// The first line is a target triple, the others are asset names.
fn target(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let mut lines = text.lines();
    let target = match lines.next().map(str::parse::<Target>) {
        Some(Ok(target)) => target,
        _ => Target::native(Libc::Musl),
    };
    let names: Vec<&str> = lines.take(50).collect();
    let _ = target.choose(&names);
}

fn unit(bytes: &[u8]) {
    let Ok(file) = UnitFile::parse(bytes.to_vec()) else { return };
    assert_eq!(file.bytes(), bytes, "kept to the byte");
    let kept: Vec<u8> = file.lines().flat_map(|line| line.bytes).copied().collect();
    assert!(bytes.ends_with(&kept) || kept == bytes, "its lines are its bytes");
    let reading = Reading::of([&file]);
    assert!(diff::compare(&reading, &reading).is_empty(), "a unit differs in nothing from itself");
    // A line that ends in a backslash would go on; and the first byte order mark is dropped, wherever it is.
    let plain: Vec<_> = file.assignments().filter(|assignment| !assignment.value.ends_with('\\')).collect();
    let written = |text, a: &Assignment| format!("{text}[{}]\n{}={}\n", a.section, a.key, a.value);
    let again = UnitFile::parse(plain.iter().fold("\u{feff}\n".to_owned(), written).into_bytes()).expect("a unit");
    let same = |(a, b): (&Assignment, Assignment)| (a.section, a.key, a.value) == (b.section, b.key, b.value);
    assert!(
        plain.len() == again.assignments().len() && plain.iter().zip(again.assignments()).all(same),
        "written, it reads the same"
    );
}

/// The first line is which unit, each other one the first letter of an option and its value: no value becomes another setting,
/// and the program gets its words as they were given.
fn unit_builtin(bytes: &[u8]) {
    let mut lines = bytes.split(|b| *b == b'\n').filter_map(|line| text(line));
    let Some(Ok(kind)) = lines.next().map(str::parse::<builtin::Builtin>) else { return };
    let mut given = builtin::Given::default();
    for line in lines {
        let value = line.chars().skip(1).collect::<String>();
        match line.chars().next() {
            Some('n') => given.name = Some(value),
            Some('b') => given.binary = Some(value),
            Some('c') => given.config = Some(value),
            Some('w') => given.arguments.push(value),
            Some('u') => given.user = Some(value),
            Some('g') => given.group = Some(value),
            Some('d') => given.description = Some(value),
            Some('a') => given.ambient.push(value),
            Some('l') => given.listen.push(value),
            Some('t') => given.calendar.push(value),
            _ => {}
        }
    }
    let Ok(named) = kind.fill(&given) else { return };
    let file = UnitFile::parse(named.text.into_bytes()).expect("systemd takes it");
    assert!(file.complaints().is_empty(), "{:?}", file.complaints());
    let known = |a: &Assignment| keys::is_section(a.section) && keys::is_known(a.key) || a.section == "Install";
    assert!(file.assignments().all(|a| known(&a)), "a value is no setting");
    let reading = Reading::of([&file]);
    let Some(binary) = given.binary.filter(|_| kind == builtin::Builtin::Service) else { return };
    let commands = reading.commands("ExecStart").expect("a command line");
    let [command] = commands.as_slice() else { panic!("one command: {commands:?}") };
    let plain = |word: &String| word.replace("%%", "%").replace("$$", "$");
    // In the program's path a '$' is none of a variable.
    assert_eq!((command.program.replace("%%", "%"), command.prefix.as_str()), (binary, ""));
    let words: Vec<String> = command.arguments.iter().map(plain).collect();
    assert!(words.ends_with(&given.arguments), "{words:?} of {:?}", given.arguments);
}

/// Two units, with a line `---` between them.
fn unit_diff(bytes: &[u8]) {
    const BETWEEN: &[u8] = b"\n---\n";
    let Some(at) = bytes.windows(BETWEEN.len()).position(|part| part == BETWEEN) else { return };
    let (Ok(old), Ok(new)) =
        (UnitFile::parse(bytes[..at].to_vec()), UnitFile::parse(bytes[at + BETWEEN.len()..].to_vec()))
    else {
        return;
    };
    let (before, after) = (Reading::of([&old]), Reading::of([&new]));
    let (there, back) = (diff::compare(&before, &after), diff::compare(&after, &before));
    assert_eq!(there.is_empty(), back.is_empty(), "a difference is one both ways");
    for change in &there {
        assert!(change.old.is_some() || change.new.is_some(), "{change:?}");
        let _ = change.to_string();
    }
    // A drop-in that says all of NEW once more resets nothing and takes nothing away.
    let both = Reading::of([&old, &new]);
    assert!(after.settings().keys().all(|name| both.settings().contains_key(name)), "a drop-in is heard");
}

/// BASE, OLD and NEW, a record separator between them: the drop-in is its own successor.
fn unit_carry(bytes: &[u8]) {
    let mut texts = bytes.split(|b| *b == 0x1e).map(|text| UnitFile::parse(text.to_vec()));
    let (Some(Ok(base)), Some(Ok(old)), Some(Ok(new))) = (texts.next(), texts.next(), texts.next()) else { return };
    let sides = |base, old| carry::Sides { base: Some(vec![base]), old, new: vec![&new], ..carry::Sides::default() };
    let Ok(text) = carry::carry(&sides(&base, vec![&old])) else { return };
    let Ok(drop_in) = UnitFile::parse(text.clone().into_bytes()) else { panic!("a drop-in that systemd refuses") };
    assert_eq!(carry::carry(&sides(&new, vec![&new, &drop_in])), Ok(text), "carried again it is the same");
}

fn unit_exec(bytes: &[u8]) {
    // A NUL ends a line, so none is in a value.
    let Some(text) = text(bytes).filter(|text| !text.contains('\0')) else { return };
    let _ = exec::commands(text);
    if let Ok(words) = exec::words(text) {
        let _ = flags::flags(&words);
        let again: Vec<String> = words.iter().map(|word| exec::quoted(word)).collect();
        assert_eq!(
            exec::words(&again.join(" ")).ok().as_ref(),
            Some(&words),
            "what is quoted is read again as the same"
        );
    }
}

/// The first line is `NAME=VALUE`, the rest is a template.
fn unit_render(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Some((value, template)) = text.split_once('\n') else { return };
    let Ok(value) = value.parse::<render::Value>() else { return };
    if let Ok(filled) = render::fill(template, &[value]) {
        let count = |text: &str| UnitFile::parse(text.as_bytes().to_vec()).map(|file| file.assignments().len()).ok();
        assert_eq!(count(&filled), count(template), "a value adds no assignment");
    }
}

/// The first line is an address, the second what a `Location:` header says.
fn url_and_location(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let (address, location) = text.split_once('\n').unwrap_or((text, ""));
    let _ = url::without_secrets(text);
    let Ok(url) = url::Url::parse(address) else { return };
    let scheme = url.as_str().split(':').next().unwrap_or_default().to_ascii_lowercase();
    assert_eq!(scheme, if url.is_secure() { "https" } else { "http" });
    let sibling = url.sibling(location);
    if let Ok(sibling) = &sibling {
        assert!(sibling.same_origin(&url), "{} beside {}", sibling.as_str(), url.as_str());
    }
    if let Ok(joined) = url.join(location) {
        assert_eq!(url::Url::parse(joined.as_str()).ok().as_ref(), Some(&joined));
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default())
}
