//! Who asks: what a registry wants to know, and who else may be told.

/// What a registry wants before it answers, from its `WWW-Authenticate:` headers (RFC 9110, section 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from `realm`, for `service`.
    Bearer {
        /// The address that gives tokens.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
    },
    /// A user name and a password.
    Basic,
}

impl Challenge {
    /// The first challenge that can be answered here. Its scope is not read: what is asked for is known better here.
    #[must_use]
    pub fn read(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |wanted: &str| {
            quoted(parameters).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service") })
    }
}

/// `name="value"` pairs with commas between them, values perhaps without quotes.
fn quoted(text: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']);
        let (value, after) = if let Some(inside) = behind.strip_prefix('"') {
            let mut value = String::new();
            let mut chars = inside.char_indices();
            let mut end = inside.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => value.extend(chars.next().map(|(_, c)| c)),
                    c => value.push(c),
                }
            }
            (value, inside.get(end..).unwrap_or_default())
        } else {
            let (value, after) = behind.split_once(',').unwrap_or((behind, ""));
            (value.trim().to_owned(), after)
        };
        pairs.push((name, value));
        rest = after;
    }
    pairs
}

/// Whether a user name and a password for the registry `registry` may be shown to `realm`, which that registry named: to itself,
/// below itself, and to what stands under the same name: `auth.docker.io` for `registry-1.docker.io`, `gitlab.com` for
/// `registry.gitlab.com`. Addresses by number are only themselves.
#[must_use]
pub fn same_site(registry: &str, realm: &str) -> bool {
    let below = |host: &str, domain: &str| {
        host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
    };
    let by_number = |host: &str| host.starts_with('[') || host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if registry == realm {
        return true;
    }
    if by_number(registry) || by_number(realm) {
        return false;
    }
    let parent = registry.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    below(realm, registry) || parent.is_some_and(|parent| below(realm, parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        for (header, challenge) in [
            (
                r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
                bearer("https://a/t", Some("s")),
            ),
            (r#"bearer service=s , realm="https://a/\"t""#, bearer("https://a/\"t", Some("s"))),
            ("Bearer realm=https://a/t?x=y", bearer("https://a/t?x=y", None)),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("Bearer", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::read(header), challenge, "{header}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(STANDARD.encode(text), encoded);
        }
    }

    #[test]
    fn a_password_stays_on_the_registry_s_site() {
        for (registry, realm, allowed) in [
            ("ghcr.io", "ghcr.io", true),
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("quay.io", "auth.quay.io", true),
            ("quay.io", "evil.io", false),
            ("quay.io", "evilquay.io", false),
            ("registry.gitlab.com", "evilgitlab.com", false),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("localhost", "evil", false),
        ] {
            assert_eq!(same_site(registry, realm), allowed, "{registry} {realm}");
        }
    }
}
