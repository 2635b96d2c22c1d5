//! Whose a path is by the word of the host's package manager: dpkg's lists are read, rpm is asked.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use super::Host;

/// Where dpkg keeps a list of files for each package.
const INFO: &str = "/var/lib/dpkg/info";
/// Where dpkg-divert(1) keeps which files of packages are put elsewhere.
const DIVERSIONS: &str = "/var/lib/dpkg/diversions";
/// Where rpm's database is: one of these.
const RPM: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
/// How long rpm may take, in seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The package that has a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Package {
    /// dpkg's.
    Dpkg(String),
    /// rpm's.
    Rpm(String),
}

/// Which of `paths` (absolute, without symlinks) belong to a package of `host`. A path outside of its root belongs to none.
pub fn owners<'p>(host: &Host, paths: &[&'p Path]) -> io::Result<BTreeMap<&'p Path, Package>> {
    let root = fs::canonicalize(host.path("/"))?;
    let inside = |path: &'p Path| Some((path, Path::new("/").join(path.strip_prefix(&root).ok()?)));
    let paths: Vec<_> = paths.iter().filter_map(|path| inside(path)).collect();
    let mut owners = by_dpkg(host, &paths)?;
    if RPM.iter().any(|database| host.path(database).is_dir()) && host.program("rpm").is_ok() {
        for (path, there) in paths {
            if let Some(package) = by_rpm(host, &there) {
                owners.entry(path).or_insert(Package::Rpm(package));
            }
        }
    }
    Ok(owners)
}

fn by_dpkg<'p>(host: &Host, paths: &[(&'p Path, PathBuf)]) -> io::Result<BTreeMap<&'p Path, Package>> {
    let lists = match fs::read_dir(host.path(INFO)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        lists => lists?,
    };
    let diversions = diversions(host)?;
    // What a list may say when it means the path: itself, its name before /bin was merged with /usr/bin, or the name that
    // it was diverted from. Who diverted a path has it himself.
    let mut said: Vec<(&Path, PathBuf, Option<&str>, bool)> = Vec::new();
    for (path, there) in paths {
        for name in names_of(host, there) {
            let from = diversions.iter().find(|d| d.from == name);
            said.push((path, name.clone(), from.map(|d| d.by.as_str()), true));
            let to = diversions.iter().filter(|d| d.to == name);
            said.extend(to.map(|d| (*path, d.from.clone(), Some(d.by.as_str()), false)));
        }
    }
    let mut owners = BTreeMap::new();
    for list in lists {
        let list = list?.path();
        let Some(package) = list.file_stem().filter(|_| list.extension() == Some(OsStr::new("list"))) else { continue };
        // `libc6:amd64.list`
        let package = package.to_string_lossy();
        let bare = package.split(':').next().unwrap_or_default();
        let bytes = fs::read(&list)?;
        for line in bytes.split(|b| *b == b'\n') {
            for (path, name, diverted_by, stands_for_it) in &said {
                let means = match diverted_by {
                    None => true,
                    Some(by) => (*by == bare) == *stands_for_it,
                };
                if means && name.as_os_str().as_bytes() == line {
                    owners.insert(*path, Package::Dpkg(bare.to_owned()));
                }
            }
        }
    }
    Ok(owners)
}

/// A path's own name, and the one it has without `/usr` where `/bin` and its kind are symlinks into `/usr`.
fn names_of(host: &Host, path: &Path) -> Vec<PathBuf> {
    let mut names = vec![path.to_owned()];
    if let Ok(below) = path.strip_prefix("/usr") {
        let first = below.components().next();
        let merged = first.is_some_and(|first| host.path(Path::new("/").join(first)).is_symlink());
        names.extend(merged.then(|| Path::new("/").join(below)));
    }
    names
}

/// A file of some package that is kept under another name.
struct Diversion {
    from: PathBuf,
    to: PathBuf,
    /// The package that asked for it and has the first name itself; `:` is the administrator.
    by: String,
}

/// Three lines each.
fn diversions(host: &Host) -> io::Result<Vec<Diversion>> {
    let bytes = match fs::read(host.path(DIVERSIONS)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let lines: Vec<_> = bytes.split(|b| *b == b'\n').collect();
    let read = |three: &[&[u8]; 3]| {
        let path = |line: &[u8]| PathBuf::from(OsStr::from_bytes(line));
        Diversion { from: path(three[0]), to: path(three[1]), by: String::from_utf8_lossy(three[2]).into_owned() }
    };
    Ok(lines.as_chunks().0.iter().map(read).collect())
}

/// rpm's word; one that fails has none.
fn by_rpm(host: &Host, path: &Path) -> Option<String> {
    let arguments = [OsStr::new("-qf"), "--queryformat".as_ref(), "%{NAME}\\n".as_ref(), "--".as_ref(), path.as_ref()];
    let output = host.run_tool("rpm", arguments, PATIENCE).ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::tool::tests::program;
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::below(&fs::canonicalize(root.path()).unwrap());
        (root, host)
    }

    fn owner(host: &Host, path: &str) -> Option<Package> {
        let path = host.path(path);
        owners(host, &[&path]).unwrap().remove(path.as_path())
    }

    fn dpkg(name: &str) -> Package {
        Package::Dpkg(name.to_owned())
    }

    #[test]
    fn dpkg_s_lists_and_diversions_say_whose_a_path_is() {
        let (root, host) = host(&[
            ("var/lib/dpkg/info/runed.list", "/.\n/usr\n/usr/bin/runed\n/usr/bin/diverted\n"),
            ("var/lib/dpkg/info/libc6:amd64.list", "/bin/sh\n"),
            ("var/lib/dpkg/info/other.list", "/usr/bin/taken\n"),
            ("var/lib/dpkg/info/first.list", "/usr/bin/taken\n"),
            ("var/lib/dpkg/info/runed.md5sums", "/usr/bin/sums\n"),
            (
                "var/lib/dpkg/diversions",
                "/usr/bin/diverted\n/usr/bin/diverted.distrib\n:\n/usr/bin/taken\n/usr/bin/taken.first\nother\n",
            ),
        ]);
        assert_eq!(owner(&host, "usr/bin/runed"), Some(dpkg("runed")));
        assert_eq!(owner(&host, "usr/bin/rune"), None);
        assert_eq!(owner(&host, "usr/bin/sums"), None);
        // Without the merge these are two files.
        assert_eq!(owner(&host, "usr/bin/sh"), None);
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        assert_eq!(owner(&host, "usr/bin/sh"), Some(dpkg("libc6")));
        // The administrator has moved the package's file out of the way.
        assert_eq!(owner(&host, "usr/bin/diverted"), None);
        assert_eq!(owner(&host, "usr/bin/diverted.distrib"), Some(dpkg("runed")));
        assert_eq!(owner(&host, "usr/bin/taken"), Some(dpkg("other")));
        assert_eq!(owner(&host, "usr/bin/taken.first"), Some(dpkg("first")));
        assert_eq!(owners(&host, &[Path::new("/usr/bin/runed")]).unwrap(), BTreeMap::new());
    }

    #[test]
    fn rpm_is_asked_where_its_database_is() {
        let answers = "#!/bin/sh\n[ \"$5\" = /usr/bin/runed ] && echo runed || { echo not owned; exit 1; }\n";
        let (root, host) = host(&[]);
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        program(&root.path().join("usr/bin/rpm"), answers);
        assert_eq!(owner(&host, "usr/bin/runed"), None, "no database, no question");
        fs::create_dir_all(root.path().join("usr/lib/sysimage/rpm")).unwrap();
        assert_eq!(owner(&host, "usr/bin/runed"), Some(Package::Rpm("runed".into())));
        assert_eq!(owner(&host, "usr/bin/rune"), None);
    }

    /// The same answers as dpkg's own, on a machine that has it.
    #[test]
    fn dpkg_itself_says_the_same() {
        let host = Host::below(Path::new("/"));
        let programs: Vec<_> =
            ["sh", "env", "mount", "ls", "perl", "rsh"].map(|name| Path::new("/usr/bin").join(name)).into();
        for program in programs.iter().filter(|path| path.is_file()) {
            let program = fs::canonicalize(program).unwrap();
            let names = names_of(&host, &program);
            let asked = |name: &PathBuf| {
                let output = host.run_tool("dpkg-query", [OsStr::new("-S"), name.as_os_str()], PATIENCE).ok()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let line = text.lines().find(|line| !line.starts_with("diversion"))?;
                Some(line.split([':', ',']).next()?.to_owned())
            };
            let said = names.iter().find_map(asked);
            assert_eq!(
                owners(&host, &[&program]).unwrap().remove(program.as_path()),
                said.map(Package::Dpkg),
                "{program:?}"
            );
        }
    }
}
