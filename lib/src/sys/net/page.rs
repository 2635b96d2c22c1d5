//! Answers whose headers tell more than their body: a page of a list, and a redirect that is itself the answer.

use std::io::Read;

use ureq::http::{HeaderMap, header};

use super::url::Url;
use super::{Answer, Ask, Hop, Net, NetError};
use crate::sys::say::Say;
use crate::words::size::Size;

/// One page of a list.
pub struct Page {
    /// Its body.
    pub bytes: Vec<u8>,
    /// Where the server says that the list goes on (RFC 8288, `rel="next"`).
    pub next: Option<String>,
}

impl Net {
    /// A page of a list, whole and in memory, at most `cap` bytes.
    pub fn page(&self, ask: &Ask, cap: Size, say: &Say) -> Result<Page, NetError> {
        self.retried(say, || {
            let Answer { url, response, .. } = self.get(ask, None, say)?;
            let next = next(response.headers());
            let mut bytes = Vec::new();
            let reader = response.into_body().into_reader();
            let read = reader.take(cap.0.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(|e| self.broken(&url, bytes.len() as u64, None, e))?;
            if bytes.len() as u64 > cap.0 {
                return Err(NetError::TooLarge { url, cap });
            }
            Ok(Page { bytes, next })
        })
    }

    /// Where the server sends whoever asks for this; `None` when it has content of its own.
    pub fn location(&self, ask: &Ask, say: &Say) -> Result<Option<Url>, NetError> {
        self.retried(say, || match self.hop(ask, ask.url.clone(), None, say)? {
            Hop::Redirect(to) => Ok(Some(to)),
            Hop::Content(_) => Ok(None),
        })
    }
}

fn next(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(header::LINK).into_iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let value = parameter.trim().strip_prefix("rel=").map(|value| value.trim_matches('"'));
            value.is_some_and(|relations| relations.split(' ').any(|relation| relation == "next"))
        });
        is_next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_next_page_is_found() {
        for (link, to) in [
            (r#"<https://h/?page=2>; rel="next", <https://h/?page=9>; rel="last""#, Some("https://h/?page=2")),
            (
                r#"<https://h/?page=1>; rel="prev",<https://h/?page=3>; title="x"; rel="next last""#,
                Some("https://h/?page=3"),
            ),
            ("<https://h/?page=2>; rel=next", Some("https://h/?page=2")),
            (r#"<https://h/?page=1>; rel="prev first""#, None),
            (r#"<https://h/?rel="next">"#, None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LINK, link.parse().unwrap());
            assert_eq!(next(&headers).as_deref(), to, "{link}");
        }
    }
}
