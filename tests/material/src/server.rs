//! The release server: threads, one request a connection, TLS with a CA of its own.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::github::Api;
use crate::http::Request;

/// The names in the server's certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    api: Api,
}

impl Server {
    /// Listens on `address` for requests about the shelf in `dir`; over HTTPS with the CA in `tls_dir` (made when it has none), else
    /// over plain HTTP.
    pub fn listen(dir: &Path, address: &str, tls_dir: Option<&Path>) -> io::Result<Self> {
        let tls = tls_dir.map(configuration).transpose()?;
        let api = Api::of(dir, if tls.is_some() { "https" } else { "http" });
        Ok(Self { listener: TcpListener::bind(address)?, tls, api })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for ever.
    pub fn serve(self) -> io::Result<()> {
        for stream in self.listener.incoming() {
            let (tls, api) = (self.tls.clone(), self.api.clone());
            let stream = stream?;
            // A client that hangs up, or does not trust this CA, is its own business.
            thread::spawn(move || answer(stream, tls, &api));
        }
        Ok(())
    }
}

fn answer(stream: TcpStream, tls: Option<Arc<ServerConfig>>, api: &Api) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    match tls {
        None => exchange(stream, api).map(drop),
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            let mut stream = exchange(StreamOwned::new(connection, stream), api)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

fn exchange<S: Read + Write>(stream: S, api: &Api) -> io::Result<S> {
    let mut reader = BufReader::new(stream);
    let request = Request::read(&mut reader)?;
    let mut stream = reader.into_inner();
    api.answer(&request).write(&mut stream, request.method == "HEAD", api.sends(&request))?;
    Ok(stream)
}

/// The server's certificate and key from `dir`; with its CA (`ca.pem`) they are made when they are missing.
pub fn configuration(dir: &Path) -> io::Result<Arc<ServerConfig>> {
    let (certificate, key) = (dir.join("server.pem"), dir.join("server.key"));
    if !key.exists() {
        fs::create_dir_all(dir)?;
        let made = Identity::new().map_err(io::Error::other)?;
        fs::write(dir.join("ca.pem"), made.ca)?;
        fs::write(&certificate, made.certificate)?;
        fs::write(&key, made.key)?;
    }
    let chain = vec![CertificateDer::from_pem_file(&certificate).map_err(io::Error::other)?];
    let key = PrivateKeyDer::from_pem_file(&key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let configuration = builder.and_then(|b| b.with_no_client_auth().with_single_cert(chain, key));
    configuration.map(Arc::new).map_err(io::Error::other)
}

/// A CA and one certificate that it signed, in PEM.
struct Identity {
    ca: String,
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Result<Self, rcgen::Error> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "upswap test CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
        server.distinguished_name.push(DnType::CommonName, "upswap test release server");
        server.use_authority_key_identifier_extension = true;
        let certificate = server.signed_by(&key, &ca)?;
        Ok(Self { ca: ca.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    /// What the server answers to a client that trusts `ca`.
    fn get(address: SocketAddr, ca: &Path) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
        let connection = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
        stream.write_all(b"GET /repos/o/r/releases HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn its_ca_proves_it_and_no_other_ca_does() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("o/r")).unwrap();
        let tls = dir.path().join("tls");
        let server = Server::listen(dir.path(), "127.0.0.1:0", Some(&tls)).unwrap();
        let address = server.address().unwrap();
        thread::spawn(|| server.serve());
        let answer = get(address, &tls.join("ca.pem")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n[]"), "{answer}");
        let other = dir.path().join("other.pem");
        fs::write(&other, Identity::new().unwrap().ca).unwrap();
        assert!(get(address, &other).is_err());
    }
}
