//! Proxies from the environment, per scheme, as curl(1) reads them.
//!
//! https goes through a tunnel (CONNECT), which ureq makes. Plain http is asked of the proxy itself with the whole address
//! (RFC 9112, section 3.2.2), because common proxies allow no tunnel to port 80; ureq would make one, so the request is
//! addressed to the proxy here.

use std::env;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::uri::{Authority, Builder, Uri};
use ureq::http::{HeaderValue, header};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Proxy, ProxyProtocol, RequestBuilder};

use super::NetError;
use super::url::Url;

/// Which proxy serves which address.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: Vec<String>,
}

/// The proxy on the way to an address. Shown as `HOST:PORT`, never with its password.
pub struct Via {
    proxy: Proxy,
    tunnels: bool,
}

impl Proxies {
    /// Reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower case first and then in upper case.
    ///
    /// `HTTP_PROXY` is not read: in a CGI program a web server's client could have set it (CVE-2016-5385).
    #[must_use]
    pub fn from_env() -> Self {
        Self::from(|name| env::var(name).ok())
    }

    fn from(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let get = |name: &str| set(name).or_else(|| set(&name.to_uppercase()));
        let all = get("all_proxy");
        let http = set("http_proxy").or_else(|| all.clone());
        Self::new(http, get("https_proxy").or(all), &get("no_proxy").unwrap_or_default())
    }

    fn new(http: Option<String>, https: Option<String>, except: &str) -> Self {
        let except = except.split([',', ' ', '\t']).map(str::to_ascii_lowercase);
        Self { http, https, except: except.filter(|entry| !entry.is_empty()).collect() }
    }

    /// The proxy for `url`; `None` for a direct connection.
    pub fn via(&self, url: &Url) -> Result<Option<Via>, NetError> {
        let Some(address) = self.of(url) else { return Ok(None) };
        if address.starts_with("socks") {
            return Err(bad(url, "SOCKS is not spoken here; name an http:// proxy"));
        }
        let no_address = || bad(url, "it is not an address such as http://HOST:PORT");
        let proxy = Proxy::new(address).map_err(|_| no_address())?;
        let has_a_port = |authority: &Authority| authority.port_u16().is_some();
        let is_written =
            |authority: &Authority| authority.as_str().rsplit('@').next().is_some_and(|a| a != authority.host());
        if proxy.host().is_empty() || proxy.uri().authority().is_some_and(|a| is_written(a) && !has_a_port(a)) {
            return Err(no_address());
        }
        Ok(Some(Via { proxy, tunnels: url.is_secure() }))
    }

    /// The address of the proxy for `url`. It may hold a password.
    fn of(&self, url: &Url) -> Option<&str> {
        let proxy = if url.is_secure() { &self.https } else { &self.http };
        proxy.as_deref().filter(|_| !self.except.iter().any(|entry| covers(entry, url)))
    }
}

impl Via {
    /// The proxy to make a tunnel through, when that is the way.
    pub fn tunnel(&self) -> Option<&Proxy> {
        Some(&self.proxy).filter(|_| self.tunnels)
    }

    /// The request for `url`, to be sent on this way.
    pub fn request(&self, agent: &Agent, url: &Url) -> Result<RequestBuilder<WithoutBody>, NetError> {
        if self.tunnels {
            return Ok(agent.get(url.as_str()));
        }
        let scheme = if self.proxy.protocol() == ProxyProtocol::Https { "https" } else { "http" };
        // The transport takes the slash off.
        let path = format!("/{}", url.as_str());
        let to = Builder::new().scheme(scheme).authority(self.to_string()).path_and_query(path).build();
        let to: Uri = to.map_err(|_| bad(url, "it can't be asked for this address"))?;
        let mut request = agent.get(to).header(header::HOST, url.authority());
        if let Some(user) = self.proxy.username() {
            let pair = format!("{user}:{}", self.proxy.password().unwrap_or_default());
            let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
            let mut value = value.map_err(|_| bad(url, "its user name or password can't be sent"))?;
            value.set_sensitive(true);
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.proxy.host(), self.proxy.port())
    }
}

/// What it means that the proxy itself answers `status`, 0 when it gave none.
pub fn refused(url: Url, status: u16) -> NetError {
    match status {
        407 => bad(&url, "it wants a user name and a password (407); write http://USER:PASSWORD@HOST:PORT"),
        0 => bad(&url, "it gave no proper answer"),
        500..=599 => NetError::Busy { url, status, until: None },
        _ => bad(&url, &format!("it refuses to connect us ({status}); is it allowed to go there?")),
    }
}

fn bad(url: &Url, why: &str) -> NetError {
    let variable = if url.is_secure() { "https_proxy or all_proxy" } else { "http_proxy or all_proxy" };
    NetError::Proxy { url: url.clone(), variable, why: why.to_owned() }
}

/// True when an entry of `no_proxy` covers `url`: `*`, a host or domain with or without a leading dot, an address or
/// a network (`10.0.0.0/8`). Beyond what curl reads, each may have a port, and a domain a `*.` in front.
fn covers(entry: &str, url: &Url) -> bool {
    if entry == "*" {
        return true;
    }
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = host.parse().ok();
    if let (Some((network, bits)), Some(address)) = (entry.split_once('/'), address) {
        let (network, bits) = (network.trim_matches(['[', ']']).parse(), bits.parse());
        return matches!((network, bits), (Ok(network), Ok(bits)) if in_network(address, network, bits));
    }
    let entry = match entry.rsplit_once(':') {
        Some((host, port)) if entry.matches(':').count() == 1 || host.ends_with(']') => {
            if port.parse() != Ok(url.port()) {
                return false;
            }
            host
        }
        _ => entry,
    };
    let entry = entry.trim_matches(['[', ']']);
    if let Some(address) = address {
        return entry.parse() == Ok(address);
    }
    // A dot at the end makes a name absolute, and says nothing else here.
    let (host, entry) = (host.trim_end_matches('.'), entry.strip_suffix('.').unwrap_or(entry));
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    !entry.is_empty() && (host == entry || host.strip_suffix(entry).is_some_and(|sub| sub.ends_with('.')))
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            (a.to_bits() ^ n.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            (a.to_bits() ^ n.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(except: &str, url: &str) -> bool {
        let proxies = Proxies::new(Some("http://p:1".into()), Some("http://p:2".into()), except);
        proxies.of(&Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let proxies = Proxies::new(None, Some("http://p:2".into()), "");
        assert_eq!(proxies.of(&Url::parse("https://h/").unwrap()), Some("http://p:2"));
        assert_eq!(proxies.of(&Url::parse("http://h/").unwrap()), None);
    }

    #[test]
    fn lower_case_wins_and_http_has_no_upper_case() {
        for (vars, http, https) in [
            (&[][..], None, None),
            (&[("http_proxy", "a")], Some("a"), None),
            (&[("HTTP_PROXY", "a")], None, None),
            (&[("https_proxy", "a"), ("HTTPS_PROXY", "b")], None, Some("a")),
            (&[("HTTPS_PROXY", "b")], None, Some("b")),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "b")], None, Some("b")),
            (&[("all_proxy", "c")], Some("c"), Some("c")),
            (&[("ALL_PROXY", "c"), ("http_proxy", "a")], Some("a"), Some("c")),
            (&[("ALL_PROXY", "c"), ("HTTP_PROXY", "a")], Some("c"), Some("c")),
            (&[("all_proxy", "c"), ("no_proxy", "h")], None, None),
            (&[("all_proxy", "c"), ("NO_PROXY", "h")], None, None),
            (&[("all_proxy", "c"), ("no_proxy", "x"), ("NO_PROXY", "h")], Some("c"), Some("c")),
        ] {
            let var = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            let proxies = Proxies::from(var);
            assert_eq!(proxies.of(&Url::parse("http://h/").unwrap()), http, "{vars:?}");
            assert_eq!(proxies.of(&Url::parse("https://h/").unwrap()), https, "{vars:?}");
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (address, shown) in [
            ("http://me:SECRET@p.test:8888/", "p.test:8888"),
            ("p.test", "p.test:80"),
            ("me:SECRET@p.test:1", "p.test:1"),
            ("https://p.test", "p.test:443"),
            ("http://[::1]:8888", "[::1]:8888"),
        ] {
            let proxies = Proxies::new(Some(address.into()), None, "");
            assert_eq!(proxies.via(&Url::parse("http://h/").unwrap()).unwrap().unwrap().to_string(), shown);
        }
        for wrong in ["socks5://me:SECRET@p", "ftp://me:SECRET@p", "http://me:SECRET@", "://"] {
            let proxies = Proxies::new(Some(wrong.into()), None, "");
            let error = proxies.via(&Url::parse("http://h/").unwrap()).err().unwrap().to_string();
            assert!(error.contains("http_proxy") && !error.contains("SECRET"), "{wrong}: {error}");
        }
    }

    #[test]
    fn base64_is_the_rfcs() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(STANDARD.encode(text), coded);
        }
        assert_eq!(STANDARD.encode([0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn no_proxy_is_read_as_people_write_it() {
        for (except, url) in [
            ("*", "http://h/"),
            ("h", "http://h/"),
            ("example.com", "https://a.example.com/"),
            (".example.com", "https://a.example.com/"),
            ("*.example.com", "https://a.example.com/"),
            ("x, example.com ,y", "https://example.com/"),
            ("EXAMPLE.com", "http://Example.COM/"),
            ("10.0.0.0/8", "http://10.1.2.3/"),
            ("127.0.0.1", "http://127.0.0.1:99/"),
            ("h:8080", "http://h:8080/"),
            ("::1", "http://[::1]/"),
            ("[::1]:80", "http://[::1]/"),
            ("fd00::/8", "http://[fd12::1]/"),
            ("0.0.0.0/0", "http://1.2.3.4/"),
            ("a b\tc", "http://c/"),
            (",,h,,", "http://h/"),
            ("example.com.", "https://a.example.com/"),
            ("example.com", "https://a.example.com./"),
            ("x,*", "http://h/"),
            ("192.168.0.0/31", "http://192.168.0.1/"),
            ("10.0.0.1/32", "http://10.0.0.1/"),
            ("fe80::1", "http://[fe80:0::1]/"),
        ] {
            assert!(!proxied(except, url), "{except} covers {url}");
        }
        for (except, url) in [
            ("", "http://h/"),
            ("example.com", "https://badexample.com/"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("h:8080", "http://h/"),
            ("a.example.com", "http://example.com/"),
            (".", "http://h/"),
            ("192.168.0.0/31", "http://192.168.0.2/"),
            ("10.0.0.0/-1", "http://10.0.0.0/"),
            ("10.0.0.0/8", "http://10.example.com/"),
            ("0.1", "http://10.0.0.1/"),
            (".0.0.1", "http://10.0.0.1/"),
            ("example.com", "http://example.com.evil.test/"),
            ("..example.com", "http://a.example.com/"),
            ("*ample.com", "http://example.com/"),
            ("fd00::/8", "http://[fe80::1]/"),
            ("::1", "http://[::2]/"),
            ("10.0.0.0/99", "http://10.0.0.1/"),
        ] {
            assert!(proxied(except, url), "{except} does not cover {url}");
        }
    }
}
