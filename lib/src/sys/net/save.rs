//! A whole file, in one piece or in several: what broke off is gone on with where the server can name what it is a part of.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::{Response, header};

use super::answer::{content_length, is_page, no_rest, validator};
use super::url::Url;
use super::{Answer, Ask, Net, NetError};
use crate::sys::landing::Landing;
use crate::sys::say::Say;
use crate::words::size::Size;

/// The fewest bytes a second, over the time that a server may be silent.
const SLOWEST: u64 = 1024;

/// What is to be got, and how much of it at most.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    ask: &'a Ask,
    /// The size that the release announces.
    size: Option<u64>,
    cap: Size,
}

impl Net {
    /// Puts a whole file into `landing`, at most `cap` bytes, and of just `size` bytes when that is known from elsewhere.
    ///
    /// A body that is cut, longer than announced, of unknown length, or a web page is never taken for the file. What an
    /// earlier try or run left in `landing` is gone on with if the server says that it is still a part of the same file;
    /// otherwise it is dropped, and the file is asked for once more, whole.
    pub fn save(
        &self,
        ask: &Ask,
        size: Option<u64>,
        cap: Size,
        landing: &mut Landing,
        say: &Say,
    ) -> Result<(), NetError> {
        self.retried(say, || {
            let saved = self.save_once(Wanted { ask, size, cap }, landing, say);
            landing.hide();
            saved
        })
    }

    fn save_once(&self, wanted: Wanted<'_>, landing: &mut Landing, say: &Say) -> Result<(), NetError> {
        let Wanted { ask, size, cap } = wanted;
        let fits = |len: u64| size.is_none_or(|size| size == len) && len <= cap.0;
        let kept = landing.kept().filter(|(whole, _)| fits(whole.len)).map(|(whole, from)| (whole.clone(), from));
        let answer = self.get(ask, kept.as_ref().map(|(whole, from)| (whole.validator.as_str(), *from)), say)?;
        let Some((whole, from)) = kept.filter(|_| answer.response.status() != 200) else {
            return self.save_whole(wanted, answer, landing);
        };
        let why = if answer.response.status() == 206 {
            no_rest(answer.response.headers(), &whole, from)
        } else {
            Some("the rest of it can't be had")
        };
        if let Some(why) = why {
            say.note(format_args!("{}: {why}; starting over", answer.url));
            landing.forget();
            return self.save_once(wanted, landing, say);
        }
        say.note(format_args!("{}: going on behind the first {from} of {} bytes", answer.url, whole.len));
        landing.go_on().map_err(NetError::Write)?;
        self.pour(answer, from, Some(whole.len), cap, landing)
    }

    /// Takes an answer of status 200, the whole file.
    fn save_whole(&self, wanted: Wanted<'_>, answer: Answer, landing: &mut Landing) -> Result<(), NetError> {
        let Wanted { ask, size, cap } = wanted;
        let headers = answer.response.headers();
        let url = answer.url.clone();
        if is_page(headers, &ask.url) {
            return Err(NetError::Page(url));
        }
        let length = content_length(headers);
        let chunked = headers.contains_key(header::TRANSFER_ENCODING);
        match (length, size) {
            (Some(got), Some(expected)) if got != expected => {
                return Err(NetError::WrongSize { url, got, expected });
            }
            (None, None) if !chunked => return Err(NetError::Unsized(url)),
            _ => {}
        }
        let announced = length.or(size);
        if announced.is_some_and(|bytes| bytes > cap.0) {
            return Err(NetError::TooLarge { url, cap });
        }
        landing.begin(announced, validator(headers)).map_err(NetError::Write)?;
        self.pour(answer, 0, announced, cap, landing)
    }

    /// Writes a body behind the first `from` bytes of a file of `announced` bytes, and looks whether that is all.
    fn pour(
        &self,
        answer: Answer,
        from: u64,
        announced: Option<u64>,
        cap: Size,
        landing: &mut Landing,
    ) -> Result<(), NetError> {
        let Answer { url, via, response } = answer;
        let sized = content_length(response.headers()).is_some();
        let got = self.read_on(&url, response, from, announced, cap, landing)?;
        match announced {
            Some(expected) if got < expected => Err(NetError::Cut { url, got, expected: Some(expected) }),
            Some(expected) if got > expected => Err(NetError::WrongSize { url, got, expected }),
            // Behind a proxy the connection below TLS is watched too, and its last bytes are TLS's own.
            _ if self.surplus.take() && sized && via.is_none() => Err(NetError::Surplus(url)),
            _ => Ok(()),
        }
    }

    fn read_on(
        &self,
        url: &Url,
        response: Response<Body>,
        from: u64,
        announced: Option<u64>,
        cap: Size,
        landing: &mut Landing,
    ) -> Result<u64, NetError> {
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 64 * 1024];
        let mut got = from;
        let mut pace = Pace::new(self.policy.stall);
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(got),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.broken(url, got, announced, e)),
            };
            got += n as u64;
            if got > cap.0 {
                return Err(NetError::TooLarge { url: url.clone(), cap });
            }
            if announced.is_some_and(|expected| got > expected) {
                return Err(NetError::WrongSize { url: url.clone(), got, expected: announced.unwrap_or_default() });
            }
            landing.write(buffer.get(..n).unwrap_or_default()).map_err(NetError::Write)?;
            if let Some(what) = pace.too_slow(n as u64, Instant::now()) {
                return Err(NetError::Timeout { url: url.clone(), what });
            }
        }
    }
}

/// How fast a body comes: a server that sends a byte now and then is no better than a silent one.
struct Pace {
    window: Duration,
    since: Instant,
    got: u64,
}

impl Pace {
    fn new(window: Duration) -> Self {
        Self { window, since: Instant::now(), got: 0 }
    }

    /// Counts `bytes` that came at `now`; why that is too slow when it is.
    fn too_slow(&mut self, bytes: u64, now: Instant) -> Option<String> {
        self.got += bytes;
        let passed = now.saturating_duration_since(self.since);
        if passed < self.window || self.window.is_zero() {
            return None;
        }
        let got = std::mem::take(&mut self.got);
        self.since = now;
        // Less than a second of patience has no whole second to count.
        let needed = SLOWEST.saturating_mul(passed.as_millis().try_into().unwrap_or(u64::MAX)) / 1000;
        let time = humantime::format_duration(self.window);
        (got < needed).then(|| format!("no more than {got} bytes within {time}, and {SLOWEST} a second are the least"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_too_slow_and_a_stream_with_a_pause_is_not() {
        let mut pace = Pace::new(Duration::from_secs(30));
        let start = pace.since;
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.too_slow(1, at(29)), None, "not yet");
        assert!(pace.too_slow(1, at(31)).is_some());
        assert_eq!(pace.too_slow(SLOWEST * 31, at(62)), None);
        assert_eq!(pace.too_slow(0, at(62)), None);
        assert!(pace.too_slow(SLOWEST * 29, at(92)).is_some(), "each window by itself");
    }
}
