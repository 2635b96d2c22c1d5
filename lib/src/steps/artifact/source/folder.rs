//! A folder of releases, as `DIR/VERSION/` or by the origin records that fetch wrote, and a file alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{Asset, Place, Release, SourceError, nothing_picked, plain};
use crate::steps::artifact::origin::Origin;
use crate::sys::durable;
use crate::words::release::{Channel, Selector, Tag};

/// Paths by their last part.
type Named = Vec<(String, PathBuf)>;

/// A folder and which of its releases is wanted.
#[derive(Clone, Debug)]
pub struct Folder {
    pub dir: PathBuf,
    pub selector: Selector,
}

impl Folder {
    /// The release that is wanted.
    pub fn release(&self, spelling: &str, channel: Channel) -> Result<Release, SourceError> {
        let releases = self.releases()?;
        match self.selector.pick(&releases, channel) {
            Some(release) => Ok(release.clone()),
            None => Err(SourceError::NoRelease {
                spelling: spelling.to_owned(),
                what: nothing_picked(&self.selector, &releases),
            }),
        }
    }

    /// Every release in the folder.
    ///
    /// Files with an origin record belong to the version in it, files without one to every version. Without any record,
    /// each folder with a file in it is a release of that name; without any folder, the files are one release without a version.
    pub fn releases(&self) -> Result<Vec<Release>, SourceError> {
        let (files, folders) = entries(&self.dir)?;
        let mut of_version: BTreeMap<String, (Release, Vec<Asset>)> = BTreeMap::new();
        let mut of_none = Vec::new();
        for (name, path) in files {
            let record = Origin::read(&Origin::beside(&path))?.filter(|record| record.asset == name);
            let asset = asset(name, path);
            match record.and_then(|record| Some((record.version.clone()?, record))) {
                Some((version, record)) => {
                    of_version.entry(version).or_insert_with(|| (of_record(record), Vec::new())).1.push(asset);
                }
                None => of_none.push(asset),
            }
        }
        if !of_version.is_empty() {
            let all = |(release, assets): (Release, Vec<Asset>)| Release {
                assets: Some([assets, of_none.clone()].concat()),
                ..release
            };
            return Ok(of_version.into_values().map(all).collect());
        }
        let mut releases = Vec::new();
        for (name, path) in folders {
            let files = entries(&path)?.0;
            // What a fetch that failed may leave is no release.
            if files.is_empty() {
                continue;
            }
            let known = recorded(&name, &files)?.unwrap_or_else(|| release(Some(Tag::new(name)), Vec::new()));
            let assets = files.into_iter().map(|(name, path)| asset(name, path)).collect();
            releases.push(Release { assets: Some(assets), ..known });
        }
        if releases.is_empty() && !of_none.is_empty() {
            releases.push(release(None, of_none));
        }
        Ok(releases)
    }
}

/// What the records in the folder `name` tell of the release; the name itself may be short of a character that no folder can have.
fn recorded(name: &str, files: &Named) -> Result<Option<Release>, SourceError> {
    for (_, path) in files {
        let record = Origin::read(&Origin::beside(path))?;
        if let Some(record) = record.filter(|record| record.version.as_deref().is_some_and(|v| plain(v) == name)) {
            return Ok(Some(of_record(record)));
        }
    }
    Ok(None)
}

fn of_record(record: Origin) -> Release {
    Release {
        tag: record.version.map(Tag::new),
        marked_pre: record.prerelease,
        published: record.published,
        ..Release::default()
    }
}

/// A file alone: one release, with the files beside it for its evidence, and the version of its origin record if it has one.
pub fn file(path: &Path) -> Result<Release, SourceError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let record = Origin::read(&Origin::beside(path))?;
    let tag = record.and_then(|record| record.version).map(Tag::new);
    let beside = entries(durable::parent(path))?.0;
    let assets = beside.into_iter().map(|(name, path)| asset(name, path)).collect();
    Ok(Release { named: Some(asset(name, path.to_owned())), ..release(tag, assets) })
}

fn release(tag: Option<Tag>, assets: Vec<Asset>) -> Release {
    Release { tag, assets: Some(assets), ..Release::default() }
}

fn asset(name: String, path: PathBuf) -> Asset {
    let size = fs::metadata(&path).ok().map(|meta| meta.len());
    Asset { name, size, digest: None, ready: true, place: Place::File(path) }
}

/// The regular files and the folders in `dir` by name, sorted; hidden ones, records, and names that are not UTF-8 are left out.
fn entries(dir: &Path) -> Result<(Named, Named), SourceError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if name.starts_with('.') || name.ends_with(".origin.json") {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => files.push((name, path)),
            Ok(meta) if meta.is_dir() => folders.push((name, path)),
            _ => {}
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}
