//! A repository of a container registry: an artifact whose layers are files (ORAS), or an image whose file system has them.
//!
//! A manifest counts only when its bytes have the digest that was asked for: the user's, or that of the index it is named in.
//! What its layers must be is said in it, and is checked where they are received.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Asset, Place, Release, SourceError, nothing_picked};
use crate::sys::intake;
use crate::sys::net::url::{Url, encode};
use crate::sys::net::{Ask, Header, Net, NetError, Page, PlainHttp};
use crate::sys::say::Say;
use crate::words::digest::Digest;
use crate::words::exit::{Coded, Exit};
use crate::words::oci::{
    self, Challenge, Content, Descriptor, MANIFESTS, Manifest, NotAManifest, Reference, WantedManifest,
};
use crate::words::release::{Channel, Selector, Tag};
use crate::words::size::Size;
use crate::words::target::Target;

/// The most bytes of a manifest; registries take none that is larger.
const MANIFEST_MAX: Size = Size(4 << 20);
/// The most bytes of a page of tags or of a token's answer.
const ANSWER_MAX: Size = Size(8 << 20);
/// Tags a page; registries give fewer when they want to.
const PAGE: usize = 1000;
/// The most pages of tags that are read.
const PAGES: usize = 50;
/// The credential of systemd.exec(5), `LoadCredential=`, that holds `USER:PASSWORD`.
const CREDENTIAL: &str = "oci-login";

/// A repository, and what of it is wanted.
#[derive(Clone, Debug)]
pub struct Registry {
    reference: Reference,
    /// The same as a selector, for a list.
    pub selector: Selector,
    headers: Vec<Header>,
    login: Option<Login>,
    token_host: Option<String>,
}

/// A user name and a password for the registry.
#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// The layers of an image, lowest first, and what the image is called in messages.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its layers; each is a blob with its size and digest.
    pub layers: Vec<Asset>,
    /// The repository and the manifest's digest.
    pub shown: String,
}

/// Why a registry gave no manifest.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The bytes are not those that were asked for.
    #[error("{url}: the manifest's SHA-256 is {got}, and {expected} was asked for; refused")]
    Digest {
        /// Where it came from.
        url: Url,
        /// What it is.
        got: Digest,
        /// What it should be.
        expected: Digest,
    },
    /// The index says another size than the manifest has.
    #[error("{url}: the manifest has {got} bytes, its index says {expected}; refused")]
    Size {
        /// Where it came from.
        url: Url,
        /// Its size in bytes.
        got: u64,
        /// What the index says.
        expected: u64,
    },
    /// What came is no manifest.
    #[error("{url}: no manifest that could be used: {why}")]
    Manifest {
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        why: NotAManifest,
    },
    /// An index names an index, which is no image of a machine.
    #[error("{0}: an index inside of an index; name the inner one by its digest")]
    Nested(Url),
    /// The list of tags makes no sense, or never ends.
    #[error("{url}: no list of tags that could be used: {why}")]
    Tags {
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        why: String,
    },
    /// The registry wants to know who asks, in a way that is not known here.
    #[error("{0}: the registry wants a log-in of a kind that is not known here; --header can carry one")]
    Challenge(Url),
    /// The registry lets in only who has a name, or not this one.
    #[error(
        "{url}: the registry does not let us read this; set OCI_USERNAME and OCI_PASSWORD to those that may, or check the name"
    )]
    Denied {
        /// Where we asked.
        url: Url,
    },
    /// The place that gives tokens is another site's, and a password is not shown there.
    #[error(
        "{registry}: it sends us for a token to {realm}, another site; your password is not shown there; if that is right, set \
         OCI_TOKEN_HOST={}", realm.host()
    )]
    Realm {
        /// The registry's host.
        registry: String,
        /// Where it sends us.
        realm: Url,
    },
    /// A password would go over the wire in clear.
    #[error("{0}: a password or a token is not sent over plain http; unset OCI_USERNAME or use https")]
    Clear(Url),
    /// What gave the token made no sense.
    #[error("{0}: no token came")]
    Token(Url),
}

impl Coded for OciError {
    fn exit(&self) -> Exit {
        match self {
            Self::Clear(_) => Exit::Usage,
            _ => Exit::CouldNot,
        }
    }
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// Reads what stands behind `oci:`; a password comes from the environment or from systemd's credentials.
    pub fn parse(text: &str, headers: Vec<Header>) -> Result<Self, String> {
        let mut reference = Reference::parse(text)?;
        if matches!(reference.host.as_str(), "docker.io" | "index.docker.io") {
            "registry-1.docker.io".clone_into(&mut reference.host);
        }
        let selector = match &reference.wanted {
            WantedManifest::Selected(selector) => selector.clone(),
            WantedManifest::Tagged(tag) => Selector::Exact(tag.clone()),
            WantedManifest::Pinned(..) => Selector::Latest,
        };
        let token_host = env::var("OCI_TOKEN_HOST").ok().map(|host| host.trim().to_ascii_lowercase());
        let token_host = token_host.filter(|host| !host.is_empty());
        Ok(Self { reference, selector, headers, login: Login::from_env()?, token_host })
    }

    /// Where what is fetched from it is kept: host, repository.
    pub fn folder(&self) -> Vec<String> {
        let host = std::iter::once(self.reference.host.as_str());
        host.chain(self.reference.repository.split('/')).map(str::to_owned).collect()
    }

    /// The release that is wanted: of an index the image for `target`.
    pub fn release(
        &self,
        spelling: &str,
        channel: Channel,
        target: &Target,
        net: &Net,
        say: &Say,
    ) -> Result<Release, SourceError> {
        let mut client = self.client(net, say)?;
        let none = |what: String| SourceError::NoRelease { spelling: spelling.to_owned(), what };
        let (tag, bytes) = match &self.reference.wanted {
            WantedManifest::Pinned(digest, tag) => {
                let found = client.manifest_of(digest)?;
                (tag.clone(), found.ok_or_else(|| none("no manifest of that digest".into()))?)
            }
            WantedManifest::Tagged(tag) => {
                let found = client.manifest(tag)?;
                let found = found.ok_or_else(|| none(format!("no tag '{tag}'; --list shows what there is")))?;
                (Some(tag.clone()), found)
            }
            WantedManifest::Selected(Selector::Exact(wanted)) => {
                let mut found = None;
                for tag in Selector::exact_tags(wanted).into_iter().filter(|tag| oci::is_tag(tag)) {
                    if found.is_none() {
                        found = client.manifest(&tag)?.map(|bytes| (Some(tag), bytes));
                    }
                }
                found.ok_or_else(|| none(format!("no tag '{wanted}'; --list shows what there is")))?
            }
            WantedManifest::Selected(selector) => {
                let tag = pick(selector, channel, &client.tags(spelling)?, say).map_err(none)?;
                let found = client.manifest(&tag)?;
                (Some(tag.clone()), found.ok_or_else(|| none(format!("the tag '{tag}' has just gone")))?)
            }
        };
        let (content, digest) = client.content(&bytes, target, &none)?;
        let version = content.version.clone().filter(|_| tag.is_none());
        let assets = client.assets(&content, &format!("oci:{}@sha256:{digest}", self.name()))?;
        say.detail(format_args!("oci:{}: its manifest is sha256:{digest}", self.name()));
        Ok(Release { tag: tag.or(version).map(Tag::new), assets: Some(assets), ..Release::default() })
    }

    /// Every tag as a release, but those that are signatures and their kind.
    pub fn releases(&self, spelling: &str, net: &Net, say: &Say) -> Result<Vec<Release>, SourceError> {
        Ok(self.client(net, say)?.tags(spelling)?.iter().map(|tag| bare(tag)).collect())
    }

    /// `//HOST/REPO`.
    fn name(&self) -> String {
        format!("//{}/{}", self.reference.host, self.reference.repository)
    }

    fn client<'c>(&'c self, net: &'c Net, say: &'c Say) -> Result<Client<'c>, SourceError> {
        let scheme = match net.policy().plain_http {
            PlainHttp::Refused => "https",
            PlainHttp::Allowed => "http",
        };
        let Reference { host, repository, .. } = &self.reference;
        let base = Url::parse(&format!("{scheme}://{host}/v2/{repository}")).map_err(NetError::from)?;
        Ok(Client { registry: self, net, say, base, pass: None })
    }
}

impl Login {
    fn from_env() -> Result<Option<Self>, String> {
        let var = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        match (var("OCI_USERNAME"), var("OCI_PASSWORD")) {
            (Some(user), Some(password)) => return Ok(Some(Self { user, password })),
            (None, None) => {}
            _ => return Err("OCI_USERNAME and OCI_PASSWORD belong together; one of them is not set".into()),
        }
        let Some(path) = env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(CREDENTIAL)) else {
            return Ok(None);
        };
        let text = match intake::read_small(&path) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("{}: {e}", path.display())),
        };
        let login = text.trim_end_matches(['\r', '\n']).split_once(':');
        let (user, password) = login.ok_or_else(|| format!("{}: USER:PASSWORD is the form", path.display()))?;
        Ok(Some(Self { user: user.to_owned(), password: password.to_owned() }))
    }

    fn header(&self) -> Result<Header, NetError> {
        Header::new("Authorization", &format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password))))
    }
}

/// The tag that the selector picks of `tags`; where none names a version, `latest` picks the tag of that name.
fn pick(selector: &Selector, channel: Channel, tags: &[String], say: &Say) -> Result<String, String> {
    let versions: Vec<Release> =
        tags.iter().map(|tag| bare(tag)).filter(|r| r.tag.as_ref().is_some_and(|t| t.version().is_some())).collect();
    if let Some(tag) = selector.pick(&versions, channel).and_then(|release| release.tag.as_ref()) {
        return Ok(tag.to_string());
    }
    if *selector == Selector::Latest && versions.is_empty() && tags.iter().any(|tag| tag == "latest") {
        say.note("no tag names a version; the one called latest is taken");
        return Ok("latest".to_owned());
    }
    if versions.is_empty() && !tags.is_empty() {
        return Err(format!("no tag names a version; name one of {} as :TAG", shortened(tags)));
    }
    Err(nothing_picked(selector, &versions))
}

fn shortened(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
    let more = if names.len() > first.len() { " and more" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// A release of which only the tag is known.
fn bare(tag: &str) -> Release {
    Release { tag: Some(Tag::new(tag)), ..Release::default() }
}

/// One repository, asked by one run.
struct Client<'c> {
    registry: &'c Registry,
    net: &'c Net,
    say: &'c Say,
    /// `https://HOST/v2/REPO`.
    base: Url,
    /// What lets us in, once the registry has asked for it.
    pass: Option<Header>,
}

impl Client<'_> {
    /// The manifest that `tag` names; `None` where there is none.
    fn manifest(&mut self, tag: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let url = self.url(&format!("/manifests/{tag}"))?;
        match self.get(&url, MANIFESTS, MANIFEST_MAX) {
            Ok(page) => Ok(Some(page.bytes)),
            Err(SourceError::Net(NetError::NotFound(_))) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The manifest of this digest, its bytes checked.
    fn manifest_of(&mut self, digest: &Digest) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(bytes) = self.manifest(&format!("sha256:{digest}"))? else { return Ok(None) };
        let got = Digest::of(&bytes);
        if got == *digest {
            return Ok(Some(bytes));
        }
        let url = self.url(&format!("/manifests/sha256:{digest}"))?;
        Err(OciError::Digest { url, got, expected: *digest }.into())
    }

    /// The content that the manifest in `bytes` names, for `target` where it is an index, and the digest of its manifest.
    fn content(
        &mut self,
        bytes: &[u8],
        target: &Target,
        none: &dyn Fn(String) -> SourceError,
    ) -> Result<(Content, Digest), SourceError> {
        let digest = Digest::of(bytes);
        let entries = match self.read(bytes, &digest)? {
            Manifest::Content(content) => return Ok((content, digest)),
            Manifest::Index(entries) => entries,
        };
        let Some(entry) = oci::for_target(&entries, target) else {
            return Err(none(format!("no image for {target}; it has {}", oci::platforms(&entries))));
        };
        let Some(bytes) = self.manifest_of(&entry.digest)? else {
            return Err(none(format!("the registry lacks the manifest sha256:{} of its own index", entry.digest)));
        };
        let url = self.url(&format!("/manifests/sha256:{}", entry.digest))?;
        if bytes.len() as u64 != entry.size {
            return Err(OciError::Size { url, got: bytes.len() as u64, expected: entry.size }.into());
        }
        match self.read(&bytes, &entry.digest)? {
            Manifest::Content(content) => Ok((content, entry.digest)),
            Manifest::Index(_) => Err(OciError::Nested(url).into()),
        }
    }

    fn read(&self, bytes: &[u8], digest: &Digest) -> Result<Manifest, SourceError> {
        let read = Manifest::parse(bytes);
        read.map_err(|why| match self.url(&format!("/manifests/sha256:{digest}")) {
            Ok(url) => OciError::Manifest { url, why }.into(),
            Err(e) => e,
        })
    }

    /// The files of an artifact, and an image's file system as the asset `/`.
    fn assets(&self, content: &Content, shown: &str) -> Result<Vec<Asset>, SourceError> {
        let files = content.files().map(|(title, layer)| self.blob(title, layer));
        let mut assets = files.collect::<Result<Vec<_>, _>>()?;
        let layers = content.file_system().iter().map(|layer| self.blob("a layer", layer));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        if !layers.is_empty() {
            let image = Arc::new(Image { layers, shown: shown.to_owned() });
            let place = Place::Image { image, path: String::new() };
            assets.push(Asset { name: "/".to_owned(), size: None, digest: None, ready: true, place });
        }
        Ok(assets)
    }

    fn blob(&self, name: &str, layer: &Descriptor) -> Result<Asset, SourceError> {
        let url = self.url(&format!("/blobs/sha256:{}", layer.digest))?;
        Ok(Asset {
            name: name.to_owned(),
            size: Some(layer.size),
            digest: Some(layer.digest),
            ready: true,
            place: Place::Net(Ask { url, accept: "*/*", headers: self.headers() }),
        })
    }

    /// Every tag but those of signatures, in the registry's order.
    fn tags(&mut self, spelling: &str) -> Result<Vec<String>, SourceError> {
        let mut tags = Vec::new();
        let mut url = self.url(&format!("/tags/list?n={PAGE}"))?;
        for _ in 0..PAGES {
            let Page { bytes, next } = self.get(&url, "application/json", ANSWER_MAX).map_err(|e| match e {
                SourceError::Net(NetError::NotFound(_)) => {
                    SourceError::NoRelease { spelling: spelling.to_owned(), what: "no such repository".into() }
                }
                e => e,
            })?;
            let wrong = |why: String| OciError::Tags { url: url.clone(), why };
            let page: TagList = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
            // What is no tag can be no part of an address either.
            let page = page.tags.unwrap_or_default().into_iter();
            tags.extend(page.filter(|tag| oci::is_tag(tag) && !oci::is_attachment(tag)));
            let Some(next) = next else { return Ok(tags) };
            let next = url.join(&next).map_err(NetError::from)?;
            if !next.same_origin(&self.base) {
                return Err(wrong(format!("it goes on at {next}, another host")).into());
            }
            url = next;
        }
        Err(OciError::Tags { url, why: format!("it has more than {PAGES} pages; name a tag") }.into())
    }

    /// Asks, and once more with what lets us in, if the registry itself wants that.
    fn get(&mut self, url: &Url, accept: &'static str, cap: Size) -> Result<Page, SourceError> {
        let ask = |headers| Ask { url: url.clone(), accept, headers };
        let (at, wants) = match self.net.page(&ask(self.headers()), cap, self.say) {
            Err(NetError::Denied { url: at, status: 401, wants }) if self.pass.is_none() => (at, wants),
            other => return other.map_err(denied),
        };
        // Whoever we were redirected to has nothing to ask for.
        if !at.same_origin(&self.base) {
            return Err(OciError::Denied { url: at }.into());
        }
        let challenge = wants.iter().find_map(|header| Challenge::read(header));
        self.pass = Some(self.answer(challenge.ok_or(OciError::Challenge(at))?)?);
        self.net.page(&ask(self.headers()), cap, self.say).map_err(denied)
    }

    /// What lets us in: the password itself, or a token for reading this repository, which the password may be needed for.
    fn answer(&self, challenge: Challenge) -> Result<Header, SourceError> {
        let login = self.registry.login.as_ref();
        let (realm, service) = match challenge {
            Challenge::Basic => {
                let login = login.ok_or_else(|| OciError::Denied { url: self.base.clone() })?;
                guarded(&self.base)?;
                return Ok(login.header()?);
            }
            Challenge::Bearer { realm, service } => (realm, service),
        };
        let scope = format!("scope={}", encode(&format!("repository:{}:pull", self.registry.reference.repository)));
        let service = service.map(|service| format!("&service={}", encode(&service))).unwrap_or_default();
        let joint = if realm.contains('?') { '&' } else { '?' };
        let url = Url::parse(&format!("{realm}{joint}{scope}{service}")).map_err(NetError::from)?;
        if self.base.is_secure() && !url.is_secure() {
            return Err(NetError::Downgrade { from: self.base.clone(), to: url }.into());
        }
        let mut headers = Vec::new();
        if let Some(login) = login {
            let named = self.registry.token_host.as_deref() == Some(url.host());
            if !named && !oci::same_site(self.base.host(), url.host()) {
                return Err(OciError::Realm { registry: self.base.host().to_owned(), realm: url }.into());
            }
            guarded(&url)?;
            headers.push(login.header()?);
        }
        let ask = Ask { url: url.clone(), accept: "application/json", headers };
        let answer = self.net.document(&ask, ANSWER_MAX, self.say).map_err(denied)?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&answer).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token)).filter(|token| !token.is_empty());
        let token = token.ok_or(OciError::Token(url))?;
        Ok(Header::new("Authorization", &format!("Bearer {token}"))?)
    }

    fn headers(&self) -> Vec<Header> {
        self.registry.headers.iter().chain(&self.pass).cloned().collect()
    }

    fn url(&self, rest: &str) -> Result<Url, SourceError> {
        Ok(Url::parse(&format!("{}{rest}", self.base.as_str())).map_err(NetError::from)?)
    }
}

/// That a password may be sent there: encrypted, or never leaving this host.
fn guarded(url: &Url) -> Result<(), OciError> {
    let loopback = |host: &str| {
        let octets = host.strip_prefix("127.").unwrap_or("?");
        host == "localhost" || host == "[::1]" || octets.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    if url.is_secure() || loopback(url.host()) { Ok(()) } else { Err(OciError::Clear(url.clone())) }
}

fn denied(error: NetError) -> SourceError {
    match error {
        NetError::Denied { url, .. } => OciError::Denied { url }.into(),
        e => e.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_out_encrypted_or_not_out_of_this_host() {
        let sent = |url: &str| guarded(&Url::parse(url).unwrap()).is_ok();
        for url in
            ["https://registry.example.com/", "http://127.0.0.1:5000/", "http://localhost/", "http://[::1]:5000/"]
        {
            assert!(sent(url), "{url}");
        }
        for url in [
            "http://registry.example.com/",
            "http://127.0.0.1.example.com/",
            "http://127.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "http://[::2]/",
        ] {
            assert!(!sent(url), "{url}");
        }
    }
}
