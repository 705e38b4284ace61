//! Who this edge is towards Core, and where Core is, from either form of configuration.
//!
//! Own form: the node material in the folder ([`tapir_runtime::node`]). Upstream's form: one key, certificate and CA file each for events and for
//! aggregates, as `mqtt-…-file` and `http-…-file` name them; CAs of the system where none is named.
//!
//! # Departures
//! Upstream loads a public key for MQTT and then fails at each signature, and takes Ed448. Here both are refused with their reason.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tapir_runtime::node::NodeMaterial;
use tapir_wire::certificate::CertificateInfo;
use tapir_wire::config::edm::{EdmConfig, Form, Secret, ServerUrl};
use tapir_wire::jwk::DataKey;
use tapir_wire::node::{CA_CERTIFICATE, CRYPTOPAN_KEY, DATA_KEY, NODE_DOCUMENT, Renewal, TLS_CERTIFICATE, TLS_KEY};
use zeroize::Zeroizing;

use crate::outbox::trusting;

/// A Secret holds 1 MiB at most, so no file of it is longer.
const MAX_LENGTH: u64 = 1024 * 1024;
/// A bundle of every CA there is has a quarter of a MiB.
pub(crate) const MAX_ANCHORS: u64 = 4 * 1024 * 1024;

/// Who this edge is, and where Core is.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Name of the node: `kid` of the key that signs.
    pub node: String,
    /// Where events go; none where there shall be none.
    pub events: Option<Link>,
    /// Where aggregates go; none where there shall be none, or Core named no receiver.
    pub aggregates: Option<Link>,
    /// Where they are to go, whether there is a link or not.
    pub aggregates_url: Option<String>,
    /// Why there is no link for aggregates although there should be one: that costs no events. Empty where there is none to be.
    pub aggregates_faults: Vec<String>,
    /// When the certificate is to be renewed, where somebody says so.
    pub renewal: Option<Renewal>,
}

impl Identity {
    /// Whether a link for aggregates that another identity has is the same node's and leads where this one's should.
    #[must_use]
    pub fn may_keep_aggregates_of(&self, other: &Self) -> bool {
        let is_another_key = match (&self.events, &other.events) {
            (Some(one), Some(other)) => one.data_key.thumbprint() != other.data_key.thumbprint(),
            _ => false,
        };
        self.node == other.node && !is_another_key && self.aggregates_url.is_some() && self.aggregates_url == other.aggregates_url
    }
}

/// One of Core's services, and as whom it is spoken to.
#[derive(Clone, Debug)]
pub struct Link {
    /// Broker or base URL.
    pub url: String,
    /// Shows the certificate, and trusts whom it shall; for an URL in the clear nobody looks at it.
    pub tls: Arc<ClientConfig>,
    /// The certificate that is shown.
    pub certificate: CertificateInfo,
    /// Signs.
    pub data_key: Arc<DataKey>,
    /// Number drawn from certificate, key and CA: the same files give the same number.
    pub generation: u64,
}

impl PartialEq for Link {
    /// Equal files make equal links.
    fn eq(&self, other: &Self) -> bool {
        let Self { url, tls: _, certificate: _, data_key, generation } = self;
        *url == other.url && *generation == other.generation && data_key.thumbprint() == other.data_key.thumbprint()
    }
}

impl Link {
    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        if self.url.starts_with("http") {
            self.url.starts_with("https://")
        } else {
            ServerUrl::parse(&self.url).is_ok_and(|url| !url.is_plain())
        }
    }
}

/// Reads and checks everything that the configuration names, or that lies in its folder.
///
/// # Errors
/// What is missing or unusable, all of it that does not follow from something else; in words, never with content. What concerns aggregates alone
/// is told by [`Identity::aggregates_faults`].
pub fn load(config: &EdmConfig, folder: &Path) -> Result<Identity, Vec<String>> {
    match config.form {
        Form::Own => own(config, folder),
        Form::Upstream => upstream(config, folder),
    }
}

fn own(config: &EdmConfig, folder: &Path) -> Result<Identity, Vec<String>> {
    let mut faults = Vec::new();
    let material =
        NodeMaterial::load(folder).map_err(|error| faults = missing(folder).unwrap_or_else(|| vec![chain(&error)])).ok();
    let data_key = material.as_ref().map(|material| material.data_key.clone().ok_or_else(|| format!("{DATA_KEY} is missing")));
    let data_key = data_key.and_then(|key| kept(key, &mut faults));
    let told = material.as_ref().and_then(|material| material.document.aggrec_url.as_deref());
    let receiver = config.http_url.as_deref().or(told).filter(|_| !config.disable_histogram_sender).map(str::to_owned);
    let trusted = receiver.is_some().then(|| anchors(config, folder, "http-ca-file", config.http_ca_file.as_ref()));
    let (Some(material), Some(data_key), true) = (material, data_key, faults.is_empty()) else {
        faults.extend(trusted.and_then(Result::err));
        return Err(faults);
    };
    let document = &material.document;
    let link = |url: &str, tls: Arc<ClientConfig>, generation: u64| Link {
        url: url.to_owned(),
        tls,
        certificate: material.certificate.clone(),
        data_key: Arc::clone(&data_key),
        generation,
    };
    let broker = config.mqtt_server.as_deref().unwrap_or(&document.mqtt_broker);
    let events = (!config.disable_mqtt).then(|| link(broker, Arc::clone(&material.tls), material.generation));
    let aggregates_url = receiver.clone();
    let aggregates = receiver.zip(trusted).map(|(url, trusted)| {
        let (anchors, mark) = trusted?;
        let tls = trusting(&material.tls, anchors).map_err(|error| format!("http-ca-file: {error}"))?;
        Ok(link(&url, Arc::new(tls), material.generation ^ mark))
    });
    let mut aggregates_faults = Vec::new();
    let aggregates = aggregates.and_then(|link| kept(link, &mut aggregates_faults));
    let (node, renewal) = (data_key.kid().to_owned(), document.renewal);
    Ok(Identity { node, events, aggregates, aggregates_url, aggregates_faults, renewal })
}

/// Files of the own form that are not there, or have nothing in them yet.
fn missing(folder: &Path) -> Option<Vec<String>> {
    let files = [TLS_CERTIFICATE, TLS_KEY, CA_CERTIFICATE, NODE_DOCUMENT, DATA_KEY];
    let missing: Vec<String> = files
        .iter()
        .filter(|file| !folder.join(file).metadata().is_ok_and(|file| file.len() > 0))
        .map(|file| format!("{file} is missing"))
        .collect();
    Some(missing).filter(|missing| !missing.is_empty())
}

/// What is good of it; else it is noted.
fn kept<T>(read: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    read.map_err(|fault| faults.push(fault)).ok()
}

fn upstream(config: &EdmConfig, folder: &Path) -> Result<Identity, Vec<String>> {
    let events = match &config.mqtt_server {
        Some(url) if !config.disable_mqtt => Some(Files {
            url,
            key: ("mqtt-signing-key-file", &config.mqtt_signing_key_file),
            client_certificate: ("mqtt-client-cert-file", &config.mqtt_client_cert_file),
            client_key: ("mqtt-client-key-file", &config.mqtt_client_key_file),
            anchors: ("mqtt-ca-file", &config.mqtt_ca_file),
        }),
        _ => None,
    };
    let aggregates = match &config.http_url {
        Some(url) if !config.disable_histogram_sender => Some(Files {
            url,
            key: ("http-signing-key-file", &config.http_signing_key_file),
            client_certificate: ("http-client-cert-file", &config.http_client_cert_file),
            client_key: ("http-client-key-file", &config.http_client_key_file),
            anchors: ("http-ca-file", &config.http_ca_file),
        }),
        _ => None,
    };
    let aggregates_url = aggregates.as_ref().map(|files| files.url.to_owned());
    let events = events.map(|files| files.link(config, folder)).transpose();
    let aggregates = aggregates.map(|files| files.link(config, folder)).transpose();
    let (events, aggregates, aggregates_faults) = match (events, aggregates) {
        (Ok(events), Ok(aggregates)) => (events, aggregates, Vec::new()),
        (Ok(Some(events)), Err(faults)) => (Some(events), None, faults),
        (events, aggregates) => {
            return Err([events.err(), aggregates.err()].into_iter().flatten().flatten().collect());
        }
    };
    let node = events.as_ref().or(aggregates.as_ref()).map(|link| link.data_key.kid().to_owned()).unwrap_or_default();
    Ok(Identity { node, events, aggregates, aggregates_url, aggregates_faults, renewal: None })
}

type Named<'a> = (&'static str, &'a Option<PathBuf>);

/// What upstream's configuration names for one of the services.
struct Files<'a> {
    url: &'a str,
    key: Named<'a>,
    client_certificate: Named<'a>,
    client_key: Named<'a>,
    anchors: Named<'a>,
}

impl Files<'_> {
    fn link(&self, config: &EdmConfig, folder: &Path) -> Result<Link, Vec<String>> {
        let mut faults = Vec::new();
        let text = |(key, file): Named<'_>| {
            let file = file.as_ref().ok_or_else(|| format!("{key} is not set"))?;
            read(&config.path(folder, file), MAX_LENGTH).map_err(|error| format!("{key} {}: {error}", file.display()))
        };
        let unusable = |(key, _): Named<'_>, error: &dyn std::fmt::Display| format!("{key} is unusable: {error}");
        let data_key = text(self.key).and_then(|jwk| DataKey::from_jwk(&jwk).map_err(|error| format!("{}: {error}", self.key.0)));
        let data_key = kept(data_key, &mut faults);
        let chain = text(self.client_certificate).and_then(|pem| {
            let failed = |error: &dyn std::fmt::Display| unusable(self.client_certificate, error);
            let certificate = CertificateInfo::from_pem(&pem).map_err(|error| failed(&error))?;
            let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
            Ok((certificate, chain.map_err(|error| failed(&error))?, pem))
        });
        let chain = kept(chain, &mut faults);
        let private = text(self.client_key).and_then(|pem| {
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| unusable(self.client_key, &error))?;
            Ok((key, pem))
        });
        let private = kept(private, &mut faults);
        let trusted = kept(anchors(config, folder, self.anchors.0, self.anchors.1.as_ref()), &mut faults);
        let (Some(data_key), Some((certificate, certificates, chain)), Some((private, key)), Some((roots, mark))) =
            (data_key, chain, private, trusted)
        else {
            return Err(faults);
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(certificates, private))
            .map_err(|error| {
                vec![format!("{} and {} do not go together: {error}", self.client_certificate.0, self.client_key.0)]
            })?;
        Ok(Link {
            url: self.url.to_owned(),
            tls: Arc::new(tls),
            certificate,
            data_key: Arc::new(data_key),
            generation: mark_of(&[chain.as_bytes(), key.as_bytes()]) ^ mark,
        })
    }
}

/// Whom to trust: a file, or the system. With a mark that changes when the file does.
fn anchors(config: &EdmConfig, folder: &Path, key: &str, file: Option<&PathBuf>) -> Result<(RootCertStore, u64), String> {
    // A system without CAs costs this connection alone, which then says so.
    let Some(file) = file else { return Ok(of_system(rustls_native_certs::load_native_certs().certs)) };
    let mut roots = RootCertStore::empty();
    let failed = |error: &dyn std::fmt::Display| format!("{key} {}: {error}", file.display());
    let pem = read(&config.path(folder, file), MAX_ANCHORS).map_err(|error| failed(&error))?;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        // Core may hand out an issuing CA in place of a root: what it names is trusted, self-signed or not.
        roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() { Err(failed(&"no certificate in it")) } else { Ok((roots, mark_of(&[pem.as_bytes()]))) }
}

/// Single ones that the library does not take are no reason to trust none.
fn of_system(mut certificates: Vec<CertificateDer<'static>>) -> (RootCertStore, u64) {
    certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    let mark = mark_of(&certificates.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    (roots, mark)
}

fn mark_of(texts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

/// Secret of the pseudonyms. It belongs to nobody at Core, so what else is missing of an identity does not matter.
///
/// # Errors
/// When there is none; in words.
pub fn pseudonym_secret(config: &EdmConfig, folder: &Path) -> Result<Secret, String> {
    if let Some(key) = &config.cryptopan_key {
        return Ok(key.clone());
    }
    let text = read(&folder.join(CRYPTOPAN_KEY), MAX_LENGTH).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{CRYPTOPAN_KEY} is missing"),
        _ => format!("{CRYPTOPAN_KEY}: {error}"),
    })?;
    let secret = text.trim();
    if secret.is_empty() { Err(format!("{CRYPTOPAN_KEY} is empty")) } else { Ok(Secret::new(secret.to_owned())) }
}

/// A text that may be secret.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(longest + 1).read_to_string(&mut text)?;
    if text.len() as u64 > longest { Err(io::Error::other(format!("longer than {} MiB", longest >> 20))) } else { Ok(text) }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
