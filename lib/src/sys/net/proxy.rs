//! Proxies from the environment, per scheme, as curl(1) reads them.

use std::env;
use std::net::IpAddr;

use super::url::Url;

/// Which proxy serves which address.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    except: Vec<String>,
}

impl Proxies {
    /// Reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower case first and then in upper case.
    ///
    /// `HTTP_PROXY` is passed over where `REQUEST_METHOD` is set: a web server's client could set it there (CVE-2016-5385).
    #[must_use]
    pub fn from_env() -> Self {
        let get = |name: &str| {
            let value = env::var(name).or_else(|_| env::var(name.to_uppercase())).ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let all = get("all_proxy");
        let http =
            if env::var_os("REQUEST_METHOD").is_some() { env::var("http_proxy").ok() } else { get("http_proxy") };
        Self::new(http.or_else(|| all.clone()), get("https_proxy").or(all), &get("no_proxy").unwrap_or_default())
    }

    fn new(http: Option<String>, https: Option<String>, except: &str) -> Self {
        let except = except.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase());
        Self { http, https, except: except.filter(|entry| !entry.is_empty()).collect() }
    }

    /// The proxy for `url`; `None` for a direct connection. It may hold a password.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<&str> {
        let proxy = if url.is_secure() { &self.https } else { &self.http };
        proxy.as_deref().filter(|_| !self.except.iter().any(|entry| covers(entry, url)))
    }
}

/// True when an entry of `no_proxy` covers `url`: `*`, a host or domain with or without a leading dot, an address,
/// a network (`10.0.0.0/8`), each with or without a port.
fn covers(entry: &str, url: &Url) -> bool {
    if entry == "*" {
        return true;
    }
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = host.parse().ok();
    if let (Some((network, bits)), Some(address)) = (entry.split_once('/'), address) {
        let (network, bits) = (network.parse(), bits.parse());
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
    let entry = entry.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
    if let (Some(address), Ok(entry)) = (address, entry.parse::<IpAddr>()) {
        return address == entry;
    }
    host == entry || host.strip_suffix(entry).is_some_and(|sub| sub.ends_with('.') && !entry.is_empty())
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
            ("10.0.0.0/99", "http://10.0.0.1/"),
        ] {
            assert!(proxied(except, url), "{except} does not cover {url}");
        }
    }
}
