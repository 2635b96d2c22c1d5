//! Addresses: `http://` and `https://` alone, and never their secrets in a message.

use std::fmt::{self, Write as _};

use ureq::http::Uri;

/// The longest address that is taken, in bytes; servers refuse longer ones.
const LENGTH_MAX: usize = 8192;

/// An absolute `http://` or `https://` address without user name, password and fragment.
///
/// Its `Display` leaves the query out, because signed addresses carry their secret there.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    secure: bool,
    host: String,
    port: u16,
}

/// Why a text is not an address. Never holds a password or a query.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// It could not be read.
    #[error("'{0}' is not an http:// or https:// address")]
    Unreadable(String),
    /// It holds a user name or a password.
    #[error("an address for {0} holds a user name or password, which would end up in logs; use --header instead")]
    Credentials(String),
    /// It is longer than 8192 bytes.
    #[error("an address for {0} is longer than 8192 bytes")]
    Long(String),
}

impl Url {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let text = text.split('#').next().unwrap_or_default();
        let unreadable = || BadUrl::Unreadable(without_secrets(text));
        let uri: Uri = text.parse().map_err(|_| unreadable())?;
        let (secure, usual_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(unreadable()),
        };
        let authority = uri.authority().ok_or_else(unreadable)?;
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(unreadable());
        }
        // Behind the host stands nothing but a port that is one; another reader would connect elsewhere.
        let behind =
            authority.as_str().rsplit('@').next().and_then(|whole| whole.get(host.len()..)).unwrap_or_default();
        if behind.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(unreadable());
        }
        if authority.as_str().contains('@') {
            return Err(BadUrl::Credentials(host));
        }
        // A port that is none would be passed over.
        let written = authority.as_str().len() > authority.host().len();
        if written && authority.port_u16().is_none() {
            return Err(unreadable());
        }
        if text.len() > LENGTH_MAX {
            return Err(BadUrl::Long(host));
        }
        Ok(Self { text: text.to_owned(), secure, port: authority.port_u16().unwrap_or(usual_port), host })
    }

    /// The address that a `Location:` header means, seen from here (RFC 3986, section 5.2, for the forms servers send).
    pub fn join(&self, location: &str) -> Result<Self, BadUrl> {
        let scheme = if self.secure { "https" } else { "http" };
        if location.contains("://") && !location.starts_with(['/', '?', '.']) {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{}{location}", self.root()))
        } else if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            Err(BadUrl::Unreadable(without_secrets(location)))
        } else {
            Self::parse(&format!("{}{location}", self.folder()))
        }
    }

    /// The address of `name` in the same folder, with the bytes that need it percent-encoded.
    pub fn sibling(&self, name: &str) -> Result<Self, BadUrl> {
        Self::parse(&format!("{}{}", self.folder(), encode(name)))
    }

    /// The last segment of its path; empty for a folder.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// The whole address, with its query. Not for messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True for `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host in lower case, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port as they are written.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.root().rsplit('/').next().unwrap_or_default()
    }

    /// The port, the usual one when none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True when `other` is of the same scheme, host and port (RFC 6454): where a secret for this one may be shown.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.secure, self.port, &self.host) == (other.secure, other.port, &other.host)
    }

    /// `https://host:port`, as it is written.
    fn root(&self) -> &str {
        let start = self.text.find("://").map_or(0, |at| at + 3);
        let end = self.text.get(start..).and_then(|rest| rest.find(['/', '?']));
        end.and_then(|end| self.text.get(..start + end)).unwrap_or(&self.text)
    }

    fn path(&self) -> &str {
        let rest = self.text.get(self.root().len()..).unwrap_or_default();
        rest.split('?').next().unwrap_or_default()
    }

    /// Up to and with the last slash of the path.
    fn folder(&self) -> String {
        let path = self.path();
        let folder = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("/");
        format!("{}{folder}", self.root())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.text))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `text` as one segment of a path: everything but letters, digits and `-._~+` is percent-encoded.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// An address without its user name, password and query.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let (text, query) = match text.split_once('?') {
        Some((text, _)) => (text, "?…"),
        None => (text, ""),
    };
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}{query}")
        }
        None => format!("{text}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn secrets_never_reach_a_message() {
        assert_eq!(url("https://h/x.tgz?sig=SECRET#f").to_string(), "https://h/x.tgz?…");
        assert_eq!(format!("{:?}", url("https://h/?t=SECRET")), "https://h/?…");
        for bad in
            ["https://me:SECRET@h/", "ftp://me:SECRET@h/?SECRET", "https://me:SEC RET@h/?SECRET", "nonsense?SECRET"]
        {
            assert!(!Url::parse(bad).unwrap_err().to_string().contains("SECRET"), "{bad}");
        }
    }

    #[test]
    fn locations_are_joined_as_a_browser_does() {
        let base = url("https://h:8443/a/b/c?q=1");
        for (location, whole) in [
            ("https://o/x", "https://o/x"),
            ("//o/x", "https://o/x"),
            ("/x?y=http://z", "https://h:8443/x?y=http://z"),
            ("d", "https://h:8443/a/b/d"),
        ] {
            assert_eq!(base.join(location).unwrap().as_str(), whole);
        }
        for bad in
            ["file:///etc/passwd", "data:text/plain,x", "ftp://h/x", "javascript:1", "//h:84b/", "//h:99999/", "//h:/"]
        {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_encoded_and_found_again() {
        let base = url("http://h/d/a.tgz?x");
        assert_eq!(base.file_name(), "a.tgz");
        assert_eq!(base.sibling("b c%#?.txt").unwrap().as_str(), "http://h/d/b%20c%25%23%3F.txt");
        assert_eq!(url("http://h").sibling("x").unwrap().as_str(), "http://h/x");
        assert_eq!(url("http://h/d/").file_name(), "");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(url("https://H/a").same_origin(&url("https://h:443/b")));
        for other in ["http://h/a", "https://h:444/a", "https://x.h/a"] {
            assert!(!url("https://h/a").same_origin(&url(other)), "{other}");
        }
    }
}
