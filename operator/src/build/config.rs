//! The ConfigMap that EDM reads, `<edge>-edm`, and what it has in common with POP's.
//!
//! The offboarded form outlives the edge until its Pods are gone, because a file that merely vanished means "keep the last good state" to a
//! sidecar.

use std::collections::BTreeMap;
use std::net::AddrParseError;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use tapir_wire::config::ConfigError;
use tapir_wire::config::edm::EdmConfig;
use tapir_wire::config::pop::PopConfig;
use tapir_wire::node::paths::{EDM_CONFIG_FILE, POP_CONFIG_FILE, WELL_KNOWN_DOMAINS_FILE};

use super::{Edge, metadata, revision};

/// What the API server takes in one ConfigMap, less some room for metadata.
pub(super) const MOST_BYTES: usize = 1024 * 1024 - 16 * 1024;

/// Why a configuration cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ConfigBuildError {
    /// The NOTIFY address passed the schema and still is none.
    #[error("reading spec.resolver.notify.address as an IP address")]
    NotifyAddress(#[source] AddrParseError),
    /// The file format refused the values.
    #[error("rendering {file}")]
    Render {
        /// Name of the file.
        file: &'static str,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// POP would refuse it.
    #[error("{0}")]
    Policy(String),
    /// A ConfigMap cannot hold the lists.
    #[error(
        "pop.yaml and the lists of ConfigMaps take {size} bytes together and a ConfigMap holds {MOST_BYTES}: larger lists come by HTTPS"
    )]
    ListsTooLarge {
        /// Their size.
        size: usize,
    },
    /// A ConfigMap cannot hold it.
    #[error("{what} takes {size} bytes and a ConfigMap holds {MOST_BYTES}: shorten {remedy}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: usize,
        /// What to shorten.
        remedy: &'static str,
    },
}

/// Name of EDM's ConfigMap.
#[must_use]
pub fn edm_config_name(edge: &str) -> String {
    format!("{edge}-edm")
}

/// Name of POP's ConfigMap.
#[must_use]
pub fn pop_config_name(edge: &str) -> String {
    format!("{edge}-pop")
}

/// EDM's ConfigMap while the edge lives. Switched off in the resource means disabled here, for Pods that still have the sidecar.
///
/// # Errors
/// When it does not fit into a ConfigMap.
pub fn edm_config(edge: &Edge<'_>, well_known_domains: Option<&[u8]>) -> Result<ConfigMap, ConfigBuildError> {
    let mut config = bare_edm()?;
    config.disabled = !edge.spec.edm.enabled;
    config.well_known_domains_file = well_known_domains.map(|_| WELL_KNOWN_DOMAINS_FILE.into());
    let text = edm_text(config, well_known_domains)?;
    fits("spec.edm.wellKnownDomains with edm.toml", text.len() + well_known_domains.map_or(0, <[u8]>::len), "the list")?;
    let mut map = ConfigMap {
        metadata: metadata(edge.namespace, edge.name, edm_config_name(edge.name)),
        data: Some(BTreeMap::from([(EDM_CONFIG_FILE.to_owned(), text)])),
        ..ConfigMap::default()
    };
    if let Some(list) = well_known_domains {
        map.binary_data = Some(BTreeMap::from([(WELL_KNOWN_DOMAINS_FILE.to_owned(), ByteString(list.to_vec()))]));
    }
    Ok(map)
}

/// EDM's ConfigMap after the edge: disabled, everything else as it was.
///
/// # Errors
/// When it cannot be rendered.
pub fn offboarded_edm_config(namespace: &str, edge: &str, present: Option<&ConfigMap>) -> Result<ConfigMap, ConfigBuildError> {
    let list = present.and_then(|map| map.binary_data.as_ref()?.get(WELL_KNOWN_DOMAINS_FILE));
    let mut config = file(present, EDM_CONFIG_FILE)
        .and_then(|text| EdmConfig::parse(text).ok())
        .map_or_else(bare_edm, |parsed| Ok(parsed.config))?;
    config.disabled = true;
    let text = edm_text(config, list.map(|bytes| bytes.0.as_slice()))?;
    Ok(ConfigMap {
        metadata: metadata(namespace, edge, edm_config_name(edge)),
        data: Some(BTreeMap::from([(EDM_CONFIG_FILE.to_owned(), text)])),
        binary_data: list.map(|bytes| BTreeMap::from([(WELL_KNOWN_DOMAINS_FILE.to_owned(), bytes.clone())])),
        ..ConfigMap::default()
    })
}

/// The revision that a rendered ConfigMap carries, as the sidecar will report it.
#[must_use]
pub fn revision_of(map: &ConfigMap) -> Option<String> {
    file(Some(map), EDM_CONFIG_FILE).and_then(|text| EdmConfig::parse(text).ok()).map(|parsed| parsed.config.revision).or_else(
        || file(Some(map), POP_CONFIG_FILE).and_then(|text| PopConfig::parse(text).ok()).map(|parsed| parsed.config.revision),
    )
}

fn file<'a>(map: Option<&'a ConfigMap>, name: &str) -> Option<&'a str> {
    map.and_then(|map| map.data.as_ref()?.get(name)).map(String::as_str)
}

fn fits(what: &'static str, size: usize, remedy: &'static str) -> Result<(), ConfigBuildError> {
    if size > MOST_BYTES { Err(ConfigBuildError::TooLarge { what, size, remedy }) } else { Ok(()) }
}

/// The revision covers the list too, so that `/status` shows which list is in force.
fn edm_text(mut config: EdmConfig, list: Option<&[u8]>) -> Result<String, ConfigBuildError> {
    let render =
        |config: &EdmConfig| config.to_toml().map_err(|source| ConfigBuildError::Render { file: EDM_CONFIG_FILE, source });
    config.revision = String::new();
    config.revision = revision([render(&config)?.as_bytes(), list.unwrap_or_default()]);
    render(&config)
}

/// Everything at its default, as the file format itself has it.
fn bare_edm() -> Result<EdmConfig, ConfigBuildError> {
    EdmConfig::parse(&format!("format = {}", EdmConfig::FORMAT))
        .map(|parsed| parsed.config)
        .map_err(|source| ConfigBuildError::Render { file: EDM_CONFIG_FILE, source })
}
