//! Which assets of a release are taken, and what it means when some are not there.

use std::time::{Duration, SystemTime};

use super::{FetchError, Request};
use crate::steps::artifact::source::{Asset, Place, Release};
use crate::sys::say::Say;
use crate::words::pattern::{Pattern, Values};
use crate::words::release::AssetName;
use crate::words::target::Choice;

/// A release that has nothing at all is taken for one in the making this long.
const EMPTY: Duration = Duration::from_secs(24 * 3600);
/// A release that has some of what was named, but not all.
const PARTLY: Duration = Duration::from_secs(3600);
/// A release that has other assets, but none of what was named.
const OTHERS: Duration = Duration::from_secs(600);

/// The checksum list that is written here, where a release can't bring one.
const LIST: &str = "SHA256SUMS";

/// What is fetched, by checked names.
#[derive(Debug)]
pub struct Chosen {
    pub assets: Vec<(AssetName, Asset)>,
    pub sidecars: Vec<(AssetName, Asset)>,
}

/// Chooses what `request` asks for from `release`.
pub fn choose(release: &Release, request: &Request, say: &Say) -> Result<Chosen, FetchError> {
    let choosing = Choosing { release, request };
    let (assets, mut missing) = match (&request.assets[..], &release.named) {
        ([], Some(named)) => (vec![named.clone()], Vec::new()),
        ([], None) if request.source.gives_all() => (release.assets.clone().unwrap_or_default(), Vec::new()),
        ([], None) => match choosing.fitting(say)? {
            Some(asset) => (vec![asset], Vec::new()),
            None => return Err(choosing.absent(&[format!("for {}", request.target)], 0)),
        },
        (patterns, _) => choosing.matching(patterns)?,
    };
    let beside = request.sidecars.iter().flat_map(|name| name.beside(assets.iter().map(|asset| asset.name.as_str())));
    let (mut sidecars, mut missing_sidecars) = choosing.matching(&beside.collect::<Vec<_>>())?;
    if let Some(from) = request.source.list_from()
        && let Some(at) = missing_sidecars.iter().position(|name| *name == format!("'{LIST}'"))
    {
        missing_sidecars.swap_remove(at);
        let place = Place::Written(from);
        sidecars.push(Asset { name: LIST.to_owned(), size: None, digest: None, ready: true, place });
    }
    missing.extend(missing_sidecars);
    if !missing.is_empty() {
        return Err(choosing.absent(&missing, assets.len() + sidecars.len()));
    }
    let waiting: Vec<&str> = assets.iter().chain(&sidecars).filter(|a| !a.ready).map(|a| a.name.as_str()).collect();
    if !waiting.is_empty() {
        let missing = format!("{} is being uploaded", waiting.join(", "));
        return Err(FetchError::Publishing { release: choosing.shown(), missing });
    }
    let assets = choosing.checked(assets)?;
    let mut sidecars = choosing.checked(sidecars)?;
    sidecars.retain(|(name, _)| assets.iter().all(|(asset, _)| asset != name));
    Ok(Chosen { assets, sidecars })
}

struct Choosing<'a> {
    release: &'a Release,
    request: &'a Request,
}

impl Choosing<'_> {
    /// The one asset that fits the machine.
    fn fitting(&self, say: &Say) -> Result<Option<Asset>, FetchError> {
        let assets = self.release.assets.as_deref().unwrap_or_default();
        let names: Vec<&str> = assets.iter().map(|asset| asset.name.as_str()).collect();
        match self.request.target.choose(&names) {
            Choice::None => Ok(None),
            Choice::One { name, why } => {
                say.note(format_args!("{name}: taken for {}, because {why}", self.request.target));
                Ok(assets.iter().find(|asset| asset.name == name).cloned())
            }
            Choice::Several(names) => Err(self.several(&self.request.target.to_string(), names)),
        }
    }

    /// The one asset for each pattern, and the patterns that have none.
    fn matching(&self, patterns: &[Pattern]) -> Result<(Vec<Asset>, Vec<String>), FetchError> {
        let values = Values { tag: self.release.tag.as_ref(), target: &self.request.target };
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let mut assets = self.release.matching(pattern, values)?;
            match (assets.pop(), assets.is_empty()) {
                (None, _) => missing.push(format!("'{}'", pattern.shown(values))),
                (Some(only), true) => found.push(only),
                (Some(last), false) => {
                    assets.push(last);
                    let names = assets.iter().map(|asset| asset.name.as_str()).collect();
                    return Err(self.several(&format!("'{}'", pattern.shown(values)), names));
                }
            }
        }
        Ok((found, missing))
    }

    /// The assets with names that may become files, each once.
    fn checked(&self, assets: Vec<Asset>) -> Result<Vec<(AssetName, Asset)>, FetchError> {
        let mut checked: Vec<(AssetName, Asset)> = Vec::new();
        for asset in assets {
            let name = asset.name.parse().map_err(|why| FetchError::Name { release: self.shown(), why })?;
            let path = |asset: &Asset| match &asset.place {
                Place::Image { path, .. } => path.clone(),
                _ => String::new(),
            };
            match checked.iter().find(|(other, _)| *other == name) {
                None => checked.push((name, asset)),
                Some((_, other)) if path(other) == path(&asset) => {}
                Some((_, other)) => {
                    let paths = [path(other), path(&asset)];
                    return Err(self.several(&format!("the name '{name}'"), paths.iter().map(String::as_str).collect()));
                }
            }
        }
        Ok(checked)
    }

    /// What it means that `missing` is not there while `found` others are: not yet, or not at all.
    fn absent(&self, missing: &[String], found: usize) -> FetchError {
        let assets = self.release.assets.as_deref().unwrap_or_default();
        let age = self.release.published.and_then(|published| {
            let published = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(published))?;
            // A release from the future has just appeared, and this host's clock is behind.
            Some(SystemTime::now().duration_since(published).unwrap_or_default())
        });
        let younger = |limit: Duration| age.is_some_and(|age| age < limit);
        let wanted = missing.join(" and ");
        let waits_for = if let Some(asset) = assets.iter().find(|asset| !asset.ready) {
            Some(format!("no asset {wanted} yet, and {} is being uploaded", asset.name))
        } else if assets.is_empty() && (age.is_none() || younger(EMPTY)) {
            Some("it has no assets yet".to_owned())
        } else if found > 0 && (age.is_none() || younger(PARTLY)) {
            Some(format!("no asset {wanted} yet, or the name is wrong: it has {}", self.names()))
        } else if younger(OTHERS) {
            Some(format!("no asset {wanted} yet, some minutes after it appeared"))
        } else {
            None
        };
        // A folder's files are all there; nobody uploads them while we look.
        match waits_for.filter(|_| !self.request.source.is_whole()) {
            Some(missing) => FetchError::Publishing { release: self.shown(), missing },
            None => FetchError::NoAsset { release: self.shown(), wanted, has: self.names() },
        }
    }

    fn several(&self, wanted: &str, names: Vec<&str>) -> FetchError {
        let names = names.into_iter().map(str::to_owned).collect();
        FetchError::Several { release: self.shown(), wanted: wanted.to_owned(), names }
    }

    /// Source and tag, for people.
    fn shown(&self) -> String {
        let source = self.request.source.spelling();
        match &self.release.tag {
            Some(tag) if !source.ends_with(&format!("@{tag}")) => format!("{source} ({tag})"),
            _ => source.to_owned(),
        }
    }

    /// The names of the release's assets, the first ten.
    fn names(&self) -> String {
        let assets = self.release.assets.as_deref().unwrap_or_default();
        if assets.iter().any(|asset| matches!(asset.place, Place::Image { .. })) {
            return "an image's files, each by its path, such as --asset /usr/bin/NAME".to_owned();
        }
        let names: Vec<&str> = assets.iter().map(|asset| asset.name.as_str()).collect();
        match names.get(..10) {
            _ if names.is_empty() => "none".to_owned(),
            Some(first) if names.len() > 10 => format!("{} and {} more", first.join(", "), names.len() - 10),
            _ => names.join(", "),
        }
    }
}
