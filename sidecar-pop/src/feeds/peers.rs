//! The edge's other POPs. Core never repeats an observation, so one that starts asks the others what Core told them.
//!
//! `GET /v1/observations` over mutual TLS with the node's certificate: either side takes a certificate of the node CA that names the
//! same node. One line of JSON for each name ([`line`]). The newest of each name counts, so it does not matter who is asked when,
//! or how often.

mod any_node;
mod client;
mod line;
mod server;

use std::sync::Arc;

use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tapir_runtime::node::NodeMaterial;

pub use client::ask_all;
pub use server::serve;

/// Where it is.
const PATH: &str = "/v1/observations";

/// Who we are towards peers.
#[derive(Clone, Debug)]
pub struct Identity {
    name: String,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    anchors: Arc<RootCertStore>,
}

impl From<&NodeMaterial> for Identity {
    fn from(material: &NodeMaterial) -> Self {
        let NodeMaterial { document, tls, server, anchors, .. } = material;
        let name = document.name.clone();
        Self { name, client: Arc::clone(tls), server: Arc::clone(server), anchors: Arc::clone(anchors) }
    }
}

impl Identity {
    /// For a server that is any node of our CA.
    pub(super) fn towards_any_node(&self) -> Result<ClientConfig, VerifierBuilderError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let checked = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.anchors), provider).build()?;
        let mut config = (*self.client).clone();
        config.dangerous().set_certificate_verifier(Arc::new(any_node::AnyNode(checked)));
        Ok(config)
    }

    /// Whether a certificate, whose chain was checked, is one of this node.
    fn is_ours(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        let Ok(name) = ServerName::try_from(self.name.as_str()) else { return false };
        let leaf = chain.and_then(|chain| chain.first()).and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
        leaf.is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    }
}
