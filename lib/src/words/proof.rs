//! What "healthy" means for one unit: what svc-wait was asked to prove, kept in a trial so that the way back proves the same.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What to prove of a unit, and within which times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The unit, with its type suffix: `runed.service`.
    pub unit: String,
    /// From the end of COMMAND until the unit is first healthy.
    pub timeout: Duration,
    /// How long it must then stay healthy without a restart, on top of `timeout`.
    pub stable: Duration,
    /// What must answer besides.
    pub probes: Vec<Probe>,
    /// Which executable the main process must run.
    pub exe: Exe,
}

/// A question to the service that must be answered for it to count as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// GET this URL; healthy is the given status (200 to 299 when absent), and a body that contains the given text.
    Http {
        /// The `http://` URL.
        url: String,
        /// The one status code that is healthy, if not any of 200 to 299.
        status: Option<u16>,
        /// Text that must stand in the body.
        body: Option<String>,
    },
    /// Connect to `HOST:PORT`.
    Tcp(String),
    /// Run this command line by `/bin/sh -c`; exit status 0 is healthy.
    Exec(String),
}

/// Which executable counts as the right one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exe {
    /// The file that `ExecStart=` names.
    #[default]
    ExecStart,
    /// This file, for a service started through a wrapper or an interpreter.
    Path(PathBuf),
    /// Any; nothing is proved about the executable.
    Any,
}
