//! What the ConfigMaps of both sidecars have in common.

use std::net::AddrParseError;

use k8s_openapi::api::core::v1::ConfigMap;
use tapir_wire::config::edm::EdmConfig;
use tapir_wire::config::pop::PopConfig;
use tapir_wire::config::{ConfigError, Problem};
use tapir_wire::node::paths::{EDM_CONFIG_FILE, POP_CONFIG_FILE};

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
    /// The size passed the schema and still is none.
    #[error("reading spec.edm.storage.size: write one such as 2Gi")]
    StorageSize,
    /// EDM would refuse it.
    #[error("spec.edm: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Edm(Vec<Problem>),
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

/// The revision that a rendered ConfigMap carries, as the sidecar will report it.
#[must_use]
pub fn revision_of(map: &ConfigMap) -> Option<String> {
    file(Some(map), EDM_CONFIG_FILE).and_then(|text| EdmConfig::parse(text).ok()).map(|parsed| parsed.config.revision).or_else(
        || file(Some(map), POP_CONFIG_FILE).and_then(|text| PopConfig::parse(text).ok()).map(|parsed| parsed.config.revision),
    )
}

pub(super) fn file<'a>(map: Option<&'a ConfigMap>, name: &str) -> Option<&'a str> {
    map.and_then(|map| map.data.as_ref()?.get(name)).map(String::as_str)
}

pub(super) fn fits(what: &'static str, size: usize, remedy: &'static str) -> Result<(), ConfigBuildError> {
    if size > MOST_BYTES { Err(ConfigBuildError::TooLarge { what, size, remedy }) } else { Ok(()) }
}
