//! The record on disk: one file a NAME, always replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::Record;
use crate::sys::{Host, durable, trust};

/// The folder that is `name`'s alone.
#[must_use]
pub fn folder(host: &Host, name: &str) -> PathBuf {
    host.state().join(name)
}

/// Where the record of `name` is.
#[must_use]
pub fn path(host: &Host, name: &str) -> PathBuf {
    folder(host, name).join("state.json")
}

/// Reads the record of `name`; `None` when there is none. A record of a newer form is refused, not guessed at.
///
/// What it says is run and restarted by whoever reads it, so it is read only where nobody else can write.
pub fn read(host: &Host, name: &str) -> io::Result<Option<Record>> {
    let path = path(host, name);
    trust::check(host, durable::parent(&path))?;
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    match fs::read(&path) {
        Ok(bytes) => {
            let form: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
            if form.get("schema").and_then(serde_json::Value::as_u64) != Some(Record::SCHEMA.into()) {
                return Err(bad("made by another version of upswap; use that version".into()));
            }
            let record: Record = serde_json::from_value(form).map_err(|e| bad(e.to_string()))?;
            // A copy of a NAME's folder would move that one's files, and be written over its record.
            if record.name != name {
                return Err(bad(format!(
                    "it is the record of {}, not of {name}; move the folder out of here",
                    record.name
                )));
            }
            Ok(Some(record))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes `record` the record of its name, durably: it is on disk when this returns.
pub fn write(host: &Host, record: &Record) -> io::Result<()> {
    let path = path(host, &record.name);
    durable::make_dirs(durable::parent(&path), 0o755)?;
    trust::check(host, durable::parent(&path))?;
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    durable::replace(&path, &text, 0o644)
}

/// Makes what [`read`] gave before the record of `name` again; `None` is no record.
pub fn put_back(host: &Host, name: &str, found: Option<&Record>) -> io::Result<()> {
    if let Some(record) = found {
        return write(host, record);
    }
    let path = path(host, name);
    match fs::remove_file(&path) {
        Ok(()) => durable::sync_dir(durable::parent(&path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The names that have a record on this host, sorted. One that can't be looked at is among them: reading it says why.
pub fn names(host: &Host) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(host.state()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && is_there(&path(host, &name))
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_there(record: &Path) -> bool {
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    std::fs::metadata(record).map_or_else(|e| !absent.contains(&e.kind()), |meta| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::super::tests::history;
    use super::*;

    #[test]
    fn a_copy_of_a_record_is_not_the_record_of_another_name() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        write(&host, &history(&[])).unwrap();
        assert!(read(&host, "runed").unwrap().is_some());
        fs::rename(folder(&host, "runed"), folder(&host, "runed.save")).unwrap();
        let error = read(&host, "runed.save").unwrap_err();
        assert!(error.to_string().contains("it is the record of runed"), "{error}");
    }
}
