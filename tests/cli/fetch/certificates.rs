//! fetch by https, against servers that are not who they say, or not when.

use fs_err as fs;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::{BODY, Env, run};
use crate::http::{Reply, Server};

/// What is wrong with a certificate for 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Expired,
    NotYetValid,
    OtherName,
    SelfSigned,
}

/// A CA, and a server with a certificate of it that has this fault.
fn server(fault: Fault) -> (Server, String) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let name = if fault == Fault::OtherName { "other.test" } else { "127.0.0.1" };
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    // Else it would bear the CA's name, as all of this maker do.
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "a server");
    match fault {
        Fault::Expired => leaf.not_after = date_time_ymd(2001, 1, 1),
        Fault::NotYetValid => leaf.not_before = date_time_ymd(2999, 1, 1),
        _ => {}
    }
    let key = KeyPair::generate().unwrap();
    let leaf = match fault {
        Fault::SelfSigned => leaf.self_signed(&key).unwrap(),
        _ => leaf.signed_by(&key, &ca).unwrap(),
    };
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (Server::start_as(leaf.der().clone(), key.into(), |_, _| Reply::new(200, BODY)), ca.pem())
}

/// Rows 20 and 21: a certificate that is expired, not valid yet, of another name, signed by itself or by nobody known is
/// refused, with a text that says which; a wrong clock looks like the first two, and so they name the clock.
#[test]
fn a_server_that_is_not_proven_is_refused_and_the_text_says_why() {
    const CLOCK: &str = "is the clock right?";
    for (fault, trusted, says) in [
        (Fault::Expired, true, CLOCK),
        (Fault::NotYetValid, true, CLOCK),
        (Fault::OtherName, true, "its certificate is for another name"),
        (Fault::SelfSigned, true, "signed by nobody trusted here; name its CA with --cacert"),
        (Fault::None, false, "signed by nobody trusted here; name its CA with --cacert"),
    ] {
        let (env, (server, ca)) = (Env::new(), server(fault));
        let other = self::server(Fault::None).1;
        fs::write(env.root.path().join("ca.pem"), if trusted { ca } else { other }).unwrap();
        let url = format!("{}/x.bin", server.url());
        // By the file alone, and by the host's way to look at certificates.
        for by_option in [true, false] {
            let mut fetch = env.fetch();
            let fetch = if by_option {
                fetch.args(["--cacert", "ca.pem"])
            } else {
                fetch.env("SSL_CERT_FILE", env.root.path().join("ca.pem"))
            };
            let ended = run(fetch.args(["--into", "into", &url]));
            assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{fault:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(says), "{fault:?}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "tried once: {}", ended.stderr);
            assert_eq!(env.names(), [""; 0]);
        }
        assert_eq!(server.seen().len(), 0, "not even asked");
    }
}

/// The same without a fault passes, so that it is the fault that was refused.
#[test]
fn cacert_is_trusted_instead_of_the_hosts_certificates() {
    let (env, (server, ca)) = (Env::new(), server(Fault::None));
    let other = self::server(Fault::None).1;
    for (file, pem) in [("ca.pem", ca.clone()), ("other.pem", other.clone()), ("both.pem", format!("{other}\n{ca}"))] {
        fs::write(env.root.path().join(file), pem).unwrap();
    }
    let path = |file: &str| env.root.path().join(file);
    let url = format!("{}/x.bin", server.url());
    for (cacert, variable, code) in [
        (Some("ca.pem"), None, 0),
        (Some("both.pem"), None, 0),
        (None, Some("ca.pem"), 0),
        (Some("ca.pem"), Some("other.pem"), 0),
        (Some("other.pem"), Some("ca.pem"), 3),
        (None, Some("other.pem"), 3),
        (None, None, 3),
    ] {
        let mut fetch = env.fetch();
        if let Some(file) = variable {
            fetch.env("SSL_CERT_FILE", path(file));
        }
        if let Some(file) = cacert {
            fetch.arg("--cacert").arg(path(file));
        }
        let ended = run(fetch.args(["--into", "into", &url]));
        assert_eq!(ended.code, code, "{cacert:?} {variable:?}: {}", ended.stderr);
    }
    let (folder, none) = (env.root.path(), env.root.path().join("none.pem"));
    for bad in [folder, &none] {
        let ended = run(env.fetch().arg("--cacert").arg(bad).args(["--into", "into", &url]));
        assert_eq!(ended.code, 3, "{}", ended.stderr);
        assert!(ended.stderr.contains("no certificate could be read"), "{}", ended.stderr);
    }
}
