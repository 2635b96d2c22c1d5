//! What the head of an answer says.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, header};

use super::NetError;
use super::url::Url;
use crate::sys::landing::Whole;

/// The longest validator that is taken, in bytes.
const VALIDATOR_MAX: usize = 1024;

/// What a status other than 200 means.
pub fn refusal(url: Url, status: u16, headers: &HeaderMap) -> NetError {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let retry_after = text("retry-after").and_then(moment);
    let used_up = text("x-ratelimit-remaining") == Some("0");
    match status {
        404 | 410 => NetError::NotFound(url),
        429 => NetError::RateLimited { url, until: retry_after.or_else(|| reset(text("x-ratelimit-reset"))), hint: "" },
        403 if used_up || retry_after.is_some() => {
            NetError::RateLimited { url, until: retry_after.or_else(|| reset(text("x-ratelimit-reset"))), hint: "" }
        }
        401 | 403 | 407 => {
            let wants = headers.get_all(header::WWW_AUTHENTICATE).iter();
            let wants = wants.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
            NetError::Denied { url, status, wants }
        }
        408 | 500..=599 => NetError::Busy { url, status, until: retry_after },
        _ => NetError::Status { url, status },
    }
}

/// `x-ratelimit-reset`: seconds since 1970-01-01 UTC.
fn reset(text: Option<&str>) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text?.parse().ok()?))
}

/// `Retry-After`: seconds from now, or a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, sections 10.2.3 and 5.6.7).
#[must_use]
pub fn moment(text: &str) -> Option<SystemTime> {
    if let Ok(seconds) = text.parse() {
        return SystemTime::now().checked_add(Duration::from_secs(seconds));
    }
    let mut parts = text.split(' ').skip(1);
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// True for a web page where no web page was asked for.
pub fn is_page(headers: &HeaderMap, asked: &Url) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let name = Path::new(asked.file_name()).extension();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html") && !name.is_some_and(|e| e == "html" || e == "htm")
}

/// What names this very state of the file to the server: a strong `ETag`, else a `Last-Modified` that is a minute old or
/// more, because a file can change twice in one second (RFC 9110, sections 8.8.2.2 and 13.1.5).
#[must_use]
pub fn validator(headers: &HeaderMap) -> Option<String> {
    let text =
        |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| text.len() <= VALIDATOR_MAX);
    let strong = |tag: &&str| tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
    if let Some(tag) = text(header::ETAG).filter(strong) {
        return Some(tag.to_owned());
    }
    let changed = text(header::LAST_MODIFIED)?;
    let now = text(header::DATE).and_then(moment)?;
    let settled = moment(changed).filter(|_| changed.ends_with(" GMT")).and_then(|then| now.duration_since(then).ok());
    settled.filter(|age| *age >= Duration::from_secs(60)).map(|_| changed.to_owned())
}

/// Why an answer 206 is not the rest of `whole` behind its first `from` bytes; `None` when it is.
#[must_use]
pub fn no_rest(headers: &HeaderMap, whole: &Whole, from: u64) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    let Whole { validator, len } = whole;
    // What reaches to the end or behind it has no rest that a server could send.
    if from >= *len || text(header::CONTENT_RANGE) != Some(&format!("bytes {from}-{}/{len}", len - 1)) {
        return Some("another part of it came than was asked for");
    }
    let named = if validator.starts_with('"') { header::ETAG } else { header::LAST_MODIFIED };
    if text(named).is_some_and(|now| now != validator) {
        return Some("it has changed since its first part came");
    }
    content_length(headers).is_some_and(|rest| rest != len - from).then_some("the rest of it has another length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    const OLD: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn only_what_names_one_state_of_the_file_is_a_validator() {
        let of = |lines: &[(&'static str, &str)]| validator(&headers(lines));
        assert_eq!(of(&[("etag", "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(of(&[("etag", "W/\"a\""), OLD, ("date", "Sun, 06 Nov 1994 08:50:37 GMT")]).as_deref(), Some(OLD.1));
        for none in [
            &[][..],
            &[("etag", "W/\"a\"")],
            &[("etag", "\"\"")],
            &[("etag", "a")],
            &[("etag", &format!("\"{}\"", "a".repeat(VALIDATOR_MAX)))],
            &[OLD],
            &[OLD, ("date", "Sun, 06 Nov 1994 08:50:36 GMT")],
            &[OLD, ("date", "Sun, 06 Nov 1994 08:00:00 GMT")],
            &[("last-modified", "yesterday"), ("date", "Sun, 06 Nov 1994 08:50:37 GMT")],
        ] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_rest_is_of_the_same_file_and_all_of_it() {
        let whole = Whole { validator: "\"a\"".into(), len: 100 };
        let of = |lines: &[(&'static str, &str)]| no_rest(&headers(lines), &whole, 40);
        let range = ("content-range", "bytes 40-99/100");
        for rest in [&[range][..], &[range, ("etag", "\"a\"")], &[range, ("content-length", "60")]] {
            assert_eq!(of(rest), None, "{rest:?}");
        }
        for other in [
            &[][..],
            &[("content-range", "bytes 0-99/100")],
            &[("content-range", "bytes 40-98/100")],
            &[("content-range", "bytes 40-99/101")],
            &[("content-range", "bytes 40-99/*")],
            &[("content-range", "bytes 41-99/100")],
            &[("content-range", "bytes */100")],
            &[("content-range", "garbage")],
            &[range, ("etag", "\"b\"")],
            &[range, ("etag", "W/\"a\"")],
            &[range, ("content-length", "100")],
        ] {
            assert!(of(other).is_some(), "{other:?}");
        }
        for (from, len, nothing) in
            [(0, 0, "bytes 0-0/0"), (100, 100, "bytes 100-99/100"), (101, 100, "bytes 101-99/100")]
        {
            let whole = Whole { validator: "\"a\"".into(), len };
            assert!(no_rest(&headers(&[("content-range", nothing)]), &whole, from).is_some(), "{nothing}");
        }
        let dated = Whole { validator: OLD.1.into(), len: 100 };
        assert_eq!(no_rest(&headers(&[range, OLD]), &dated, 40), None);
        let later = ("last-modified", "Mon, 07 Nov 1994 08:49:37 GMT");
        assert!(no_rest(&headers(&[range, later]), &dated, 40).is_some());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let left = |text: &str| moment(text).map(|then| then.duration_since(SystemTime::now()).unwrap_or_default());
        assert!(left("120").is_some_and(|left| left.as_secs() >= 119));
        assert!(left("Fri, 01 Jan 2100 00:00:00 GMT").is_some_and(|left| left.as_secs() > 1 << 30));
        assert_eq!(left("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "past is now");
        for garbage in
            ["", "-1", "1.5", "soon", "99999999999999999999", "18446744073709551615", "Fri, 99 Foo 2100 0 GMT"]
        {
            assert_eq!(left(garbage), None, "{garbage}");
        }
    }
}
