//! TLS: certificates from files, taken up anew when the files change, and the handshakes with them.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::config::TlsFiles;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has not what it should.
    #[error("{} has no {what} in PEM{}", path.display(), .problem.as_deref().map(|p| format!(": {p}")).unwrap_or_default())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
        /// Why it has not, if it has something.
        problem: Option<String>,
    },
    /// The certificate, its key and the roots do not go together.
    #[error("the certificate in {} cannot be served: {problem}", path.display())]
    Refused {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// Checks that the files can be served.
///
/// # Errors
///
/// Why they cannot.
pub async fn check(files: &TlsFiles) -> Result<(), Error> {
    Current::new(files, Read::all(files).await?).map(drop)
}

/// What handshakes are made with, as the files were when they were last right.
pub(super) struct Tls {
    files: TlsFiles,
    // Held to copy or set a pointer, and never across an await.
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    read: Arc<Read>,
    config: Arc<ServerConfig>,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct Read {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    pub async fn load(files: TlsFiles) -> Result<Self, Error> {
        let current = Current::new(&files, Read::all(&files).await?)?;
        Ok(Self { files, current: RwLock::new(current) })
    }

    /// Takes up the files again whenever they have changed. Those that are wrong are left, and looked at again.
    pub async fn follow_files(&self) -> Infallible {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.look().await {
                Ok(false) => {}
                Ok(true) => {
                    told = None;
                    tracing::info!("new connections get the certificate that is now in {}", self.files.cert.display());
                }
                Err(error) => {
                    let problem = error.to_string();
                    // Once for as long as it is so.
                    if told.as_ref() != Some(&problem) {
                        tracing::error!("the certificate stays as it was: {problem}");
                        told = Some(problem);
                    }
                }
            }
        }
    }

    /// Takes up the files if they have changed, and says whether they have.
    async fn look(&self) -> Result<bool, Error> {
        let read = Read::all(&self.files).await?;
        if read == *self.current().read {
            return Ok(false);
        }
        let current = Current::new(&self.files, read)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(true)
    }

    /// Begins a handshake, which goes on as the stream is used, and tells of the client's certificate at its end.
    pub fn accept(&self, tcp: TcpStream, certificate: Arc<OnceLock<CertificateDer<'static>>>) -> Stream {
        let accept = TlsAcceptor::from(self.current().config).accept(tcp);
        Stream::Handshake(Box::new(Handshake { accept, certificate }))
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Current {
    fn new(files: &TlsFiles, read: Read) -> Result<Self, Error> {
        let refused =
            |problem: &dyn std::error::Error| Error::Refused { path: files.cert.clone(), problem: problem.to_string() };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| refused(&error))?;
        let builder = match files.client_ca.as_deref().zip(read.client_ca.as_deref()) {
            None => builder.with_no_client_auth(),
            Some((path, pem)) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(path, pem)? {
                    roots.add(root).map_err(|error| refused(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if files.client_optional { verifier.allow_unauthenticated() } else { verifier }.build();
                builder.with_client_cert_verifier(verifier.map_err(|error| refused(&error))?)
            }
        };
        let chain = certificates(&files.cert, &read.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| Error::Pem {
            path: files.key.clone(),
            what: "private key",
            problem: Some(error.to_string()),
        })?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| refused(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { read: Arc::new(read), config: Arc::new(config) })
    }
}

impl Read {
    async fn all(files: &TlsFiles) -> Result<Self, Error> {
        let client_ca = match &files.client_ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        Ok(Self { cert: read(&files.cert).await?, key: read(&files.key).await?, client_ca })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let problem = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    Err(Error::Pem { path: path.to_owned(), what: "certificate", problem })
}

/// A handshake that has begun.
pub(super) struct Handshake {
    accept: Accept<TcpStream>,
    /// Where the client's certificate goes.
    certificate: Arc<OnceLock<CertificateDer<'static>>>,
}

/// A connection's bytes, encrypted or not.
pub(super) enum Stream {
    /// As they come.
    Plain(TcpStream),
    /// Not yet: whoever reads or writes carries the handshake on.
    Handshake(Box<Handshake>),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake failed; the connection is closed.
    Failed,
}

impl Stream {
    /// Carries the handshake to its end, if there is one.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Duplex>>> {
        if let Self::Handshake(handshake) = self {
            *self = match ready!(Pin::new(&mut handshake.accept).poll(cx)) {
                Ok(tls) => {
                    let chain = tls.get_ref().1.peer_certificates();
                    if let Some(own) = chain.and_then(<[_]>::first) {
                        handshake.certificate.get_or_init(|| own.clone().into_owned());
                    }
                    Self::Tls(Box::new(tls))
                }
                Err(error) => {
                    tracing::debug!("a handshake failed: {error}");
                    Self::Failed
                }
            };
        }
        Poll::Ready(match self {
            Self::Plain(tcp) => Ok(Pin::new(tcp)),
            Self::Tls(tls) => Ok(Pin::new(tls.as_mut())),
            Self::Handshake(_) | Self::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

/// Read from and written to.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.as_mut().get_mut() {
            // Nobody has heard anything yet.
            Self::Handshake(_) | Self::Failed => Poll::Ready(Ok(())),
            open => ready!(open.poll_open(cx))?.poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn certificate() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[tokio::test]
    async fn files_are_taken_up_when_they_go_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let files = TlsFiles { cert: path("cert"), key: path("key"), client_ca: None, client_optional: false };
        let missing = Tls::load(files.clone()).await.err().unwrap().to_string();
        assert!(missing.contains("cert cannot be read"), "{missing}");
        write("cert", "nothing");
        write("key", "nothing");
        let empty = Tls::load(files.clone()).await.err().unwrap().to_string();
        assert!(empty.ends_with("cert has no certificate in PEM"), "{empty}");

        let (cert, key) = certificate();
        write("cert", &cert);
        write("key", &key);
        let tls = Tls::load(files).await.unwrap();
        let first = tls.current().config;
        assert!(!tls.look().await.unwrap(), "nothing has changed");

        let (cert, key) = certificate();
        write("cert", &cert);
        assert!(matches!(tls.look().await, Err(Error::Refused { .. })), "the key of another certificate");
        assert!(Arc::ptr_eq(&tls.current().config, &first));
        write("key", &key);
        assert!(tls.look().await.unwrap());
        assert!(!Arc::ptr_eq(&tls.current().config, &first));
    }
}
