//! Bytes behind the end of a body: a server that sends more than its Content-Length said has sent another file than it meant.
//!
//! The same transport writes the first line of a request to a proxy: ureq knows no address in it but a path.
//!
//! HTTP ends a body at its Content-Length, and ureq drops the rest unseen. Each request asks for `Connection: close`, so
//! after the body nothing may follow but the end of the connection; this transport looks once more when it is closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How long to look for bytes behind the body. A server that closes, as asked, is seen at once.
const LOOK: Duration = Duration::from_millis(100);

/// Notes whether any connection closed with bytes left over.
#[derive(Clone, Debug, Default)]
pub struct Surplus {
    seen: Arc<AtomicBool>,
    absolute: Arc<AtomicBool>,
}

impl Surplus {
    /// True when bytes were left since the last call.
    pub fn take(&self) -> bool {
        self.seen.swap(false, Ordering::Relaxed)
    }

    /// Whether the path of the next request is a slash and a whole address, to be sent without that slash.
    pub fn asks_a_proxy(&self, does: bool) {
        self.absolute.store(does, Ordering::Relaxed);
    }
}

impl<In: Transport> Connector<In> for Surplus {
    type Out = Watched<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Watched<In>>, ureq::Error> {
        Ok(chained.map(|inner| Watched { inner, surplus: self.clone() }))
    }
}

/// A connection that is looked at once more when it is closed.
pub struct Watched<T: Transport> {
    inner: T,
    surplus: Surplus,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        const LINE: &[u8] = b"GET /http://";
        let output = self.inner.buffers().output();
        let asks = output.get(..amount).is_some_and(|output| output.starts_with(LINE));
        if asks && self.surplus.absolute.swap(false, Ordering::Relaxed) {
            output.copy_within(5..amount, 4);
            return self.inner.transmit_output(amount - 1, timeout);
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<T: Transport> Drop for Watched<T> {
    fn drop(&mut self) {
        let more = !self.inner.buffers().input().is_empty() || {
            let timeout = NextTimeout { after: LOOK.into(), ..NextTimeout::default() };
            matches!(self.inner.await_input(timeout), Ok(true))
        };
        if more {
            self.surplus.seen.store(true, Ordering::Relaxed);
        }
    }
}

impl<T: Transport> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}
