//! Certificates: which are trusted, and why one is not.

use std::path::Path;
use std::time::SystemTime;

use fs_err as fs;
use ureq::tls::{Certificate, PemItem, parse_pem};

use super::NetError;

/// What is wrong with the server's certificate, and what to do.
pub fn refusal(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        let text = error.to_string();
        return if text.contains("No CA certificates") {
            "this host has no CA certificates; install the package ca-certificates, or name a file with --cacert".into()
        } else {
            text
        };
    };
    match bad {
        // The latter where a CA of the same name is trusted.
        Bad::UnknownIssuer | Bad::BadSignature => {
            "its certificate is signed by nobody trusted here; name its CA with --cacert if it is your own".into()
        }
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            let now = humantime::format_rfc3339_seconds(SystemTime::now());
            format!("its certificate is not valid at this host's time, {now}; is the clock right?")
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "its certificate is for another name".into(),
        other => format!("its certificate is refused: {other}"),
    }
}

/// The certificates in the PEM file at `path`.
pub fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, NetError> {
    let failed = |why: String| NetError::CaCert { path: path.to_owned(), why };
    let pem = fs::read(path).map_err(|e| failed(e.kind().to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(failed("it is not PEM".into())),
        }
    }
    if found.is_empty() { Err(failed("there is none in it".into())) } else { Ok(found) }
}
