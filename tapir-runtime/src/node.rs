//! Node material of a sidecar: certificate, keys, trust anchors and what Core told the node.
//!
//! Everything is read and checked before anything of it is used; users of TLS get a finished configuration, never files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tapir_wire::certificate::CertificateInfo;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::node::{self, NodeDocument};
use zeroize::Zeroizing;

use crate::mqtt::address::BrokerAddress;

/// A Secret holds 1 MiB at most, so no file of it is longer.
const FILE_SIZE_AT_MOST: u64 = 1024 * 1024;

/// The link that Kubernetes renames to replace all files of a volume at once.
const CURRENT: &str = "..data";

/// Everything that a sidecar needs to talk to Core.
#[derive(Clone, Debug)]
pub struct NodeMaterial {
    /// What the node knows of Core; its broker is spoken to over TLS.
    pub document: NodeDocument,
    /// The certificate in the chain's first place. It may have expired: whether it still serves is the broker's to say.
    pub certificate: CertificateInfo,
    /// TLS 1.3, server verified against the node CA, client certificate presented.
    pub tls: Arc<ClientConfig>,
    /// The same as a server: TLS 1.3 towards whoever has a certificate of the node CA.
    pub server: Arc<ServerConfig>,
    /// Certificates of the node CA.
    pub anchors: Arc<RootCertStore>,
    /// Number drawn from certificate, key and CA: the same files give the same number.
    pub generation: u64,
    /// Private data key, where the folder has one.
    pub data_key: Option<Arc<DataKey>>,
    /// Keys that may sign observations, where the folder has them.
    pub trusted_keys: Option<Arc<TrustedKeys>>,
}

/// Why node material is refused. The texts name files, never content.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum MaterialError {
    /// A file that must be there is not: the node is not enrolled yet.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A file cannot be read.
    #[error("reading {file}")]
    Read {
        /// Which.
        file: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file is longer than any Secret.
    #[error("{0} is longer than 1 MiB")]
    TooLong(&'static str),
    /// A file does not hold what it should.
    #[error("{file} is unusable: {reason}")]
    Unusable {
        /// Which.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// Certificate and key are not of one pair, or rustls does not take them.
    #[error("tls.crt and tls.key do not go together: {0}")]
    Pair(rustls::Error),
    /// The data key is another node's.
    #[error("datakey.jwk belongs to {key}, node.json to {document}")]
    OtherNode {
        /// `kid` of the data key.
        key: String,
        /// Name in the document.
        document: String,
    },
}

impl NodeMaterial {
    /// Reads and checks everything in `directory`.
    ///
    /// # Errors
    /// The first thing that is missing or does not fit.
    pub fn load(directory: &Path) -> Result<Self, MaterialError> {
        twice(directory, Self::load_from)
    }

    /// The same without data key and trusted keys: what a connection needs, whatever the other files hold.
    ///
    /// # Errors
    /// The first thing that is missing or does not fit.
    pub fn load_connection(directory: &Path) -> Result<Self, MaterialError> {
        twice(directory, Self::connection_from)
    }

    /// The data key of this node in `directory`, where there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is another node's.
    pub fn load_data_key(directory: &Path, name: &str) -> Result<Option<Arc<DataKey>>, MaterialError> {
        twice(directory, |folder| data_key(folder, name))
    }

    fn load_from(directory: &Path) -> Result<Self, MaterialError> {
        let connection = Self::connection_from(directory)?;
        let data_key = data_key(directory, &connection.document.name)?;
        let trusted_keys = optional(directory, node::TRUSTED_KEYS)?
            .map(|text| TrustedKeys::from_jwks(&text).map(Arc::new).map_err(|error| unusable(node::TRUSTED_KEYS, error)))
            .transpose()?;
        Ok(Self { data_key, trusted_keys, ..connection })
    }

    fn connection_from(directory: &Path) -> Result<Self, MaterialError> {
        let chain = required(directory, node::TLS_CERTIFICATE)?;
        let key = required(directory, node::TLS_KEY)?;
        let anchors = required(directory, node::CA_CERTIFICATE)?;
        let document = required(directory, node::NODE_DOCUMENT)?;
        let document: NodeDocument = serde_json::from_str(&document).map_err(|error| unusable(node::NODE_DOCUMENT, error))?;
        // Refused here, so that the connection to the last good address stays.
        BrokerAddress::parse_encrypted(&document.mqtt_broker)
            .map_err(|error| unusable(node::NODE_DOCUMENT, format!("mqttBroker: {error}")))?;
        let certificate = CertificateInfo::from_pem(&chain).map_err(|error| unusable(node::TLS_CERTIFICATE, error))?;
        let tls = client_config(&chain, &key, &anchors)?;
        let server = server_config(&chain, &key, &anchors)?;
        let roots = roots(&anchors)?;
        let mut hasher = DefaultHasher::new();
        (chain.as_str(), key.as_str(), anchors.as_str()).hash(&mut hasher);
        Ok(Self {
            document,
            certificate,
            tls: Arc::new(tls),
            server: Arc::new(server),
            anchors: Arc::new(roots),
            generation: hasher.finish(),
            data_key: None,
            trusted_keys: None,
        })
    }
}

fn data_key(directory: &Path, name: &str) -> Result<Option<Arc<DataKey>>, MaterialError> {
    let data_key = optional(directory, node::DATA_KEY)?
        .map(|text| DataKey::from_jwk(&text).map(Arc::new).map_err(|error| unusable(node::DATA_KEY, error)))
        .transpose()?;
    match data_key {
        Some(data_key) if data_key.kid() != name => {
            Err(MaterialError::OtherNode { key: data_key.kid().to_owned(), document: name.to_owned() })
        }
        data_key => Ok(data_key),
    }
}

/// Two attempts: the files may be replaced and the old ones removed while they are being read.
fn twice<T>(directory: &Path, load: impl Fn(&Path) -> Result<T, MaterialError>) -> Result<T, MaterialError> {
    let first = current(directory);
    load(&first).or_else(|error| {
        let second = current(directory);
        if second == first { Err(error) } else { load(&second) }
    })
}

/// The folder that the files of one moment lie in: reading through the link file by file could mix two moments.
#[must_use]
pub fn current(directory: &Path) -> PathBuf {
    std::fs::canonicalize(directory.join(CURRENT)).unwrap_or_else(|_| directory.to_owned())
}

fn roots(anchors: &str) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for anchor in certificates(anchors, node::CA_CERTIFICATE)? {
        // Core may hand out an issuing CA in place of a root: what it names is trusted, self-signed or not.
        roots.add(anchor).map_err(|error| unusable(node::CA_CERTIFICATE, error))?;
    }
    Ok(roots)
}

fn private_key(key: &str) -> Result<PrivateKeyDer<'static>, MaterialError> {
    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable(node::TLS_KEY, error))
}

fn server_config(chain: &str, key: &str, anchors: &str) -> Result<ServerConfig, MaterialError> {
    let chain = certificates(chain, node::TLS_CERTIFICATE)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(anchors)?), Arc::clone(&provider))
        .build()
        .map_err(|error| unusable(node::CA_CERTIFICATE, error))?;
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(MaterialError::Pair)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, private_key(key)?)
        .map_err(MaterialError::Pair)
}

fn client_config(chain: &str, key: &str, anchors: &str) -> Result<ClientConfig, MaterialError> {
    let chain = certificates(chain, node::TLS_CERTIFICATE)?;
    let (roots, key) = (roots(anchors)?, private_key(key)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(MaterialError::Pair)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(MaterialError::Pair)
}

fn certificates(pem: &str, file: &'static str) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let found =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|error| unusable(file, error))?;
    if found.is_empty() { Err(unusable(file, "no certificate in it")) } else { Ok(found) }
}

fn required(directory: &Path, file: &'static str) -> Result<Zeroizing<String>, MaterialError> {
    optional(directory, file)?.ok_or(MaterialError::Missing(file))
}

/// An empty file counts as missing: that is how a Secret looks whose value was not filled in yet.
fn optional(directory: &Path, file: &'static str) -> Result<Option<Zeroizing<String>>, MaterialError> {
    let opened = match std::fs::File::open(directory.join(file)) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(MaterialError::Read { file, source }),
    };
    let mut text = Zeroizing::new(String::new());
    opened.take(FILE_SIZE_AT_MOST + 1).read_to_string(&mut text).map_err(|source| MaterialError::Read { file, source })?;
    if text.len() as u64 > FILE_SIZE_AT_MOST {
        return Err(MaterialError::TooLong(file));
    }
    Ok(if text.trim().is_empty() { None } else { Some(text) })
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits into map_err")]
fn unusable(file: &'static str, reason: impl ToString) -> MaterialError {
    MaterialError::Unusable { file, reason: reason.to_string() }
}
