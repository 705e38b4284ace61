//! TLS of the dnstap input: version 1.3 only, with client certificates where there is a CA for them (`spec/edm.md` 3.1).

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::end::End;
use super::peer::{end_of, remaining};

/// What cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not PEM, or not what it should be.
    #[error("reading the {part} of the dnstap input: {reason}")]
    Pem {
        /// Which.
        part: &'static str,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not fit together, say.
    #[error("setting up TLS of the dnstap input: {0}")]
    Setup(#[from] rustls::Error),
    /// The CA of clients cannot be used.
    #[error("setting up the client CA of the dnstap input: {0}")]
    Clients(#[from] VerifierBuilderError),
}

/// Settings from PEM. With a client CA, only those whom it has certified are let in.
///
/// # Errors
/// When something of it cannot be used.
pub fn server_config(chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(anchors) => {
            let mut roots = RootCertStore::empty();
            for anchor in certificates(anchors, "client CA")? {
                roots.add(anchor)?;
            }
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable("key", error))?;
    Ok(Arc::new(builder.with_single_cert(certificates(chain, "certificate")?, key)?))
}

fn certificates(pem: &[u8], part: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| unusable(part, error))?;
    if found.is_empty() { Err(unusable(part, "no certificate in it")) } else { Ok(found) }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits into map_err")]
fn unusable(part: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Pem { part, reason: reason.to_string() }
}

/// Shakes hands until `deadline`, whatever octets come in the meantime.
pub(super) fn shake_hands(session: &mut ServerConnection, socket: &mut TcpStream, deadline: Instant) -> Result<(), End> {
    loop {
        write_all(session, socket, deadline)?;
        if !session.is_handshaking() {
            return Ok(());
        }
        socket.set_read_timeout(Some(remaining(deadline)?)).map_err(|_| End::Broken)?;
        match session.read_tls(socket) {
            Ok(0) => return Err(End::Tls),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(end_of(&error, End::HandshakeTimeout)),
        }
        if let Err(error) = session.process_new_packets() {
            tracing::debug!(error = %error, "TLS with a dnstap sender failed");
            // What is wrong, in words that the other side understands.
            let _ = write_all(session, socket, deadline);
            return Err(End::Tls);
        }
    }
}

/// Sends all that TLS wants to send.
pub(super) fn write_all(session: &mut ServerConnection, socket: &mut TcpStream, deadline: Instant) -> Result<(), End> {
    while session.wants_write() {
        socket.set_write_timeout(Some(remaining(deadline)?)).map_err(|_| End::Broken)?;
        match session.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(end_of(&error, End::HandshakeTimeout)),
        }
    }
    Ok(())
}
