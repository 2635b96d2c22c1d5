//! Files out of an image's layers: the topmost layer that speaks of a path decides (OCI image specification, "Image Layer
//! Filesystem Changeset").
//!
//! A layer is received whole and its digest checked before any of it is read. Nothing is unpacked but the files that are wanted.

use std::io::{self, Read};
use std::path::Path;

use super::{FetchError, File, Got, Request, receive};
use crate::steps::artifact::extract::{self, Kind, Takes, Trouble};
use crate::steps::artifact::source::{Asset, Image, Place};
use crate::sys::Host;
use crate::sys::landing::{Landed, Landing};
use crate::sys::net::Net;
use crate::sys::say::Say;
use crate::words::exit::{Coded, Exit};
use crate::words::member;
use crate::words::release::AssetName;
use crate::words::size::Size;

/// What a whiteout's name starts with.
const WHITEOUT: &[u8] = b".wh.";
/// The whiteout of all that lower layers have in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The most members of a layer.
const MEMBERS: usize = 1_000_000;

/// Why a file of an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image has no regular file of that path.
    #[error("{image}: '/{path}' {why}")]
    NotThere {
        /// The image.
        image: String,
        /// The path, without the slash in front.
        path: String,
        /// What is there instead.
        why: String,
    },
    /// A layer is broken or hostile.
    #[error("{image}: its layer {layer} is refused: {why}")]
    Layer {
        /// The image.
        image: String,
        /// The layer's address.
        layer: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be written.
    #[error("{path}: could not be unpacked: {why}", path = .path.display())]
    Io {
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl Coded for ImageError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotThere { .. } => Exit::No,
            Self::Layer { .. } | Self::Io { .. } => Exit::CouldNot,
        }
    }
}

/// Gets those of `wanted` that are in an image, in their order, from as few layers as possible.
pub fn unpack(
    host: &Host,
    dir: &Path,
    wanted: &[&(AssetName, Asset)],
    request: &Request,
    net: &Net,
    say: &Say,
) -> Result<Vec<Got>, FetchError> {
    let files = wanted.iter().filter_map(|(name, asset)| match &asset.place {
        Place::Image { image, path } => Some((name, image, path)),
        _ => None,
    });
    let mut sought: Vec<Sought<'_>> = files.clone().map(|(name, _, path)| Sought::new(name, path)).collect();
    let Some((_, image, _)) = files.clone().next() else { return Ok(Vec::new()) };
    for layer in image.layers.iter().rev() {
        if sought.iter().all(|sought| sought.settled) {
            break;
        }
        let name = "a-layer".parse().map_err(|why| FetchError::Name { release: image.shown.clone(), why })?;
        let (file, mut landed) = match receive(host, dir, &name, layer, request, net, say)? {
            Got::New(file, landed) => (file, landed),
            Got::Kept(file) => {
                let why = io::Error::other("is in the way; remove it");
                return Err(ImageError::Io { path: file.path, why }.into());
            }
        };
        let mut looking = Looking { dir, sought, cap: request.max_size, count: 0, say };
        let at = |why| ImageError::Io { path: dir.to_owned(), why };
        let read = landed.bytes().map_err(at).map(|bytes| extract::members(bytes, &mut looking))?;
        read.map_err(|trouble| match trouble {
            Trouble::Refused(why) => ImageError::Layer { image: image.shown.clone(), layer: file.from, why },
            Trouble::Io(why) => at(why),
        })?;
        sought = looking.sought;
        for one in &mut sought {
            one.settle(image)?;
        }
    }
    let got = sought.into_iter().map(|sought| sought.got(dir, image));
    Ok(got.collect::<Result<Vec<_>, _>>()?)
}

/// A path that is looked for.
struct Sought<'w> {
    name: &'w AssetName,
    /// Without a slash in front.
    path: &'w str,
    found: Option<Landed>,
    /// What is in its place, or in the place of a folder above it.
    instead: Option<String>,
    /// True when a layer takes it away from those below.
    hidden: bool,
    /// True when layers further down have no say.
    settled: bool,
}

impl<'w> Sought<'w> {
    fn new(name: &'w AssetName, path: &'w str) -> Self {
        Self { name, path, found: None, instead: None, hidden: false, settled: false }
    }

    /// Takes note of what `path`, a member of the layer that is read, says of this one; true when it is the file.
    fn sees(&mut self, path: &[u8], kind: Kind) -> bool {
        let own = self.path.as_bytes();
        let above = |front: &[u8]| own.strip_prefix(front).is_some_and(|rest| rest.starts_with(b"/"));
        let at = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        let (folder, base) = path.split_at(at);
        if let Some(gone) = base.strip_prefix(WHITEOUT) {
            let whole = [folder, gone].concat();
            let opaque = base == OPAQUE && own.starts_with(folder);
            self.hidden |= opaque || whole == own || above(&whole);
            return false;
        }
        let shown = String::from_utf8_lossy(path);
        let instead = match kind {
            Kind::Regular if path == own => return true,
            Kind::Directory if path == own => "is a folder".to_owned(),
            Kind::Other(what) if path == own => format!("is {what}, no regular file"),
            Kind::Regular if above(path) => format!("can't be there: /{shown} is a file"),
            Kind::Other(what) if above(path) => {
                format!("can't be followed: /{shown} is {what}; name the path that it leads to")
            }
            _ => return false,
        };
        self.instead.get_or_insert(instead);
        false
    }

    /// After a layer: whether layers further down have a say.
    fn settle(&mut self, image: &Image) -> Result<(), ImageError> {
        let not_there = |why: &str| {
            let (image, path) = (image.shown.clone(), self.path.to_owned());
            Err(ImageError::NotThere { image, path, why: why.to_owned() })
        };
        match (&self.instead, &self.found) {
            _ if self.settled => {}
            // Also when the file is there as well: two readers would take two files for it.
            (Some(instead), _) => return not_there(instead),
            (None, Some(_)) => self.settled = true,
            (None, None) if self.hidden => return not_there("was removed by a layer"),
            (None, None) => {}
        }
        Ok(())
    }

    fn got(self, dir: &Path, image: &Image) -> Result<Got, ImageError> {
        let from = format!("{}/{}", image.shown, self.path);
        let Some(landed) = self.found else {
            let why = "is in none of its layers".to_owned();
            return Err(ImageError::NotThere { image: image.shown.clone(), path: self.path.to_owned(), why });
        };
        let path = dir.join(self.name.as_str());
        let file = File { name: self.name.clone(), path, size: landed.len, digest: landed.digest, from };
        Ok(Got::New(file, landed))
    }
}

/// The members of one layer, looked through.
struct Looking<'w> {
    dir: &'w Path,
    sought: Vec<Sought<'w>>,
    cap: Size,
    count: usize,
    say: &'w Say,
}

impl Takes for Looking<'_> {
    fn member(&mut self, path: &[u8], kind: Kind, size: u64, bytes: &mut dyn Read) -> Result<(), Trouble> {
        self.count += 1;
        if self.count > MEMBERS {
            return Err(Trouble::refused(format!("it holds more than {MEMBERS} members")));
        }
        let Ok(normal) = member::normal(path) else {
            let path = String::from_utf8_lossy(path);
            return Err(Trouble::refused(format!("member '{path}' points outside of the image")));
        };
        let seen = self.sought.iter_mut().filter(|sought| !sought.settled);
        let mut meant = seen.filter_map(|sought| sought.sees(&normal, kind).then_some(sought)).collect::<Vec<_>>();
        // Each path is looked for once.
        let Some(sought) = meant.pop() else { return Ok(()) };
        if sought.found.is_some() {
            return Err(Trouble::refused(format!("it holds '{}' twice", sought.path)));
        }
        sought.found = Some(land(self.dir, sought.name, size, self.cap, bytes, self.say)?);
        Ok(())
    }
}

/// Takes the bytes of a member.
fn land(
    dir: &Path,
    name: &AssetName,
    size: u64,
    cap: Size,
    bytes: &mut dyn Read,
    say: &Say,
) -> Result<Landed, Trouble> {
    if size > cap.0 {
        return Err(Trouble::refused(format!(
            "'{name}' in it is larger than {cap}; raise --max-size if that is right"
        )));
    }
    let mut landing = Landing::in_dir(dir, name.as_str(), say).map_err(Trouble::Io)?;
    landing.begin(Some(size), None).map_err(Trouble::Io)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut got = 0;
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                got += n as u64;
                landing.write(buffer.get(..n).unwrap_or_default()).map_err(Trouble::Io)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Trouble::reading(&e)),
        }
    }
    if got != size {
        return Err(Trouble::refused(format!("'{name}' in it does not have the size it claims")));
    }
    landing.finish().map_err(Trouble::Io)
}
