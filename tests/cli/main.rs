//! The cli tests.

mod svc_wait;
