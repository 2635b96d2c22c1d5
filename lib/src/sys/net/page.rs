//! Answers whose headers tell more than their body: a page of a list, and a redirect that is itself the answer.

use std::io::Read;
use std::time::Instant;

use ureq::http::{HeaderMap, header};

use super::url::Url;
use super::{Answer, Ask, Net, NetError, PlainHttp, refusal};
use crate::sys::say::Say;
use crate::words::size::Size;

/// One page of a list.
pub struct Page {
    /// Its body.
    pub bytes: Vec<u8>,
    /// True when the server says that more pages follow (RFC 8288, `rel="next"`).
    pub more: bool,
}

impl Net {
    /// A page of a list, whole and in memory, at most `cap` bytes.
    pub fn page(&self, ask: &Ask, cap: Size, say: &Say) -> Result<Page, NetError> {
        self.retried(say, || {
            let Answer { url, response, .. } = self.get(ask, say)?;
            let more = has_next(response.headers());
            let mut bytes = Vec::new();
            let reader = response.into_body().into_reader();
            let read = reader.take(cap.0.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(|e| self.broken(&url, bytes.len() as u64, None, e))?;
            if bytes.len() as u64 > cap.0 {
                return Err(NetError::TooLarge { url, cap });
            }
            Ok(Page { bytes, more })
        })
    }

    /// Where the server sends whoever asks for this; `None` when it has content of its own.
    pub fn location(&self, ask: &Ask, say: &Say) -> Result<Option<Url>, NetError> {
        self.retried(say, || self.location_once(ask, say))
    }

    fn location_once(&self, ask: &Ask, say: &Say) -> Result<Option<Url>, NetError> {
        let url = &ask.url;
        if !url.is_secure() && self.policy.plain_http == PlainHttp::Refused {
            return Err(NetError::PlainHttp(url.clone()));
        }
        say.detail(format_args!("GET {url}"));
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NetError::Deadline { url: url.clone(), total: self.policy.total });
        }
        let mut request = self.agent.get(url.as_str()).header(header::ACCEPT, ask.accept);
        for super::Header { name, value } in &ask.headers {
            request = request.header(name, value);
        }
        let request = request.header(header::CONNECTION, "close");
        let request = request.config().proxy(self.proxy(url)?).timeout_global(Some(left)).build();
        self.surplus.take();
        let response = request.call().map_err(|e| self.failed(url, e))?;
        let status = response.status().as_u16();
        match (status, response.headers().get(header::LOCATION)) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                let location = String::from_utf8_lossy(location.as_bytes());
                let to = url.join(&location).map_err(|why| NetError::Redirect { from: url.clone(), why })?;
                if url.is_secure() && !to.is_secure() {
                    return Err(NetError::Downgrade { from: url.clone(), to });
                }
                Ok(Some(to))
            }
            (200, _) => Ok(None),
            _ => Err(refusal(url.clone(), status, response.headers())),
        }
    }
}

fn has_next(headers: &HeaderMap) -> bool {
    let links = headers.get_all(header::LINK).into_iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|links| links.split(',')).any(|link| {
        link.split(';').skip(1).any(|parameter| {
            let value = parameter.trim().strip_prefix("rel=").map(|value| value.trim_matches('"'));
            value.is_some_and(|relations| relations.split(' ').any(|relation| relation == "next"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_next_page_is_found() {
        for (link, next) in [
            (r#"<https://h/?page=2>; rel="next", <https://h/?page=9>; rel="last""#, true),
            (r#"<https://h/?page=1>; rel="prev",<https://h/?page=3>; title="x"; rel="next last""#, true),
            ("<https://h/?page=2>; rel=next", true),
            (r#"<https://h/?page=1>; rel="prev first""#, false),
            (r#"<https://h/?rel="next">"#, false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LINK, link.parse().unwrap());
            assert_eq!(has_next(&headers), next, "{link}");
        }
    }
}
