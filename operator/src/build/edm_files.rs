//! What EDM reads: the ConfigMap `<edge>-edm` and, while it makes pseudonyms, the Secret `<edge>-edm-keys`.
//!
//! The offboarded form outlives the edge until its Pods are gone, because a file that merely vanished means "keep the last good state" to a
//! sidecar.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use tapir_wire::config::Problem;
use tapir_wire::config::edm::EdmConfig;
use tapir_wire::name::Name;
use tapir_wire::node::CRYPTOPAN_KEY;
use tapir_wire::node::paths::{EDM_CONFIG_FILE, WELL_KNOWN_DOMAINS_FILE};

use super::config::{edm_config_name, file, fits};
use super::{ConfigBuildError, Edge, metadata, revision};
use crate::api::EdmSpec;
use crate::names;

/// Clients that are left out, one prefix a line.
const IGNORED_CLIENTS_FILE: &str = "ignored-clients.txt";
/// Names that are left out, one a line.
const IGNORED_NAMES_FILE: &str = "ignored-names.txt";
/// Trust anchors for Core's aggregate receiver. The broker's are in the identity.
const CORE_CA_FILE: &str = "core-ca.crt";

/// What the specification points at.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdmInputs<'a> {
    /// DAWG file.
    pub well_known_domains: Option<&'a [u8]>,
    /// PEM certificates.
    pub core_ca: Option<&'a str>,
}

/// What EDM has of it.
#[must_use]
pub fn edm_inputs(present: &ConfigMap) -> EdmInputs<'_> {
    let list = present.binary_data.as_ref().and_then(|data| data.get(WELL_KNOWN_DOMAINS_FILE));
    EdmInputs { well_known_domains: list.map(|list| list.0.as_slice()), core_ca: file(Some(present), CORE_CA_FILE) }
}

/// EDM's ConfigMap while the edge lives. Switched off in the resource means disabled here, for Pods that still have the sidecar.
///
/// # Errors
/// When it does not fit into a ConfigMap, or EDM would refuse it.
pub fn edm_config(edge: &Edge<'_>, inputs: EdmInputs<'_>) -> Result<ConfigMap, ConfigBuildError> {
    let spec = &edge.spec.edm;
    let mut config = configured(spec)?;
    let mut texts = BTreeMap::new();
    if !spec.ignored_clients.is_empty() {
        config.ignored_client_ips_file = Some(IGNORED_CLIENTS_FILE.into());
        texts.insert(IGNORED_CLIENTS_FILE.to_owned(), lines(&spec.ignored_clients));
    }
    if !spec.ignored_names.is_empty() {
        config.ignored_question_names_file = Some(IGNORED_NAMES_FILE.into());
        texts.insert(IGNORED_NAMES_FILE.to_owned(), lines(&spec.ignored_names));
    }
    if let Some(anchors) = inputs.core_ca {
        config.http_ca_file = Some(CORE_CA_FILE.into());
        texts.insert(CORE_CA_FILE.to_owned(), anchors.to_owned());
    }
    config.well_known_domains_file = inputs.well_known_domains.map(|_| WELL_KNOWN_DOMAINS_FILE.into());
    let mut problems = config.problems();
    // The schema cannot tell: EDM would refuse the whole list.
    let is_name = |entry: &String| Name::parse(entry.strip_prefix('.').unwrap_or(entry)).is_ok();
    if !spec.ignored_names.iter().all(is_name) {
        let remedy = "a name has 253 characters at most, without the dots before and after it";
        problems.push(Problem::new("spec.edm.ignoredNames", "has an entry that is too long for a name", remedy));
    }
    if !problems.is_empty() {
        return Err(ConfigBuildError::Edm(problems));
    }
    let list = inputs.well_known_domains.map(|list| ByteString(list.to_vec()));
    config_map(edge.namespace, edge.name, config, texts, list)
}

/// EDM's ConfigMap after the edge: disabled, everything else as it was.
///
/// # Errors
/// When it cannot be rendered.
pub fn offboarded_edm_config(namespace: &str, edge: &str, present: Option<&ConfigMap>) -> Result<ConfigMap, ConfigBuildError> {
    let list = present.and_then(|map| map.binary_data.as_ref()?.get(WELL_KNOWN_DOMAINS_FILE).cloned());
    let mut texts = present.and_then(|map| map.data.clone()).unwrap_or_default();
    texts.remove(EDM_CONFIG_FILE);
    let mut config = file(present, EDM_CONFIG_FILE)
        .and_then(|text| EdmConfig::parse(text).ok())
        .map_or_else(bare, |parsed| Ok(parsed.config))?;
    config.disabled = true;
    config_map(namespace, edge, config, texts, list)
}

/// The Secret with the secret of pseudonyms.
#[must_use]
pub fn edm_keys(edge: &Edge<'_>, key: ByteString) -> Secret {
    Secret {
        metadata: metadata(edge.namespace, edge.name, names::edm_keys(edge.name)),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(CRYPTOPAN_KEY.to_owned(), key)])),
        ..Secret::default()
    }
}

/// What the specification itself says.
fn configured(spec: &EdmSpec) -> Result<EdmConfig, ConfigBuildError> {
    let EdmSpec { enabled, counted_types, histograms, events, sessions, telemetry, storage, .. } = spec;
    let fetched = spec.well_known_domains.as_ref().and_then(|list| list.https.as_ref());
    Ok(EdmConfig {
        disabled: !enabled,
        well_known_domains_url: fetched.map(|list| list.url.clone()),
        well_known_domains_sha256: fetched.map(|list| list.sha256.clone()),
        counted_types: counted_types.clone(),
        histogram_counts_only: histograms.counts_only,
        histogram_hll_explicit_threshold: histograms.threshold,
        newqname_reverse_zones: events.reverse_zones,
        newqname_home_arpa: events.home_arpa,
        newqname_localhost: events.localhost,
        newqname_local: events.local,
        newqname_special_use: events.special_use,
        newqname_client_addresses: events.client_addresses,
        disable_session_files: !sessions.enabled,
        telemetry: telemetry.enabled,
        storage_mib: storage.mebibytes().ok_or(ConfigBuildError::StorageSize)?,
        ..bare()?
    })
}

/// The revision covers the lists too, so that `/status` shows which ones are in force.
fn config_map(
    namespace: &str,
    edge: &str,
    mut config: EdmConfig,
    mut texts: BTreeMap<String, String>,
    list: Option<ByteString>,
) -> Result<ConfigMap, ConfigBuildError> {
    let render =
        |config: &EdmConfig| config.to_toml().map_err(|source| ConfigBuildError::Render { file: EDM_CONFIG_FILE, source });
    config.revision = String::new();
    let bare = render(&config)?;
    let listed = list.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
    let parts = [bare.as_bytes(), listed].into_iter().chain(texts.values().map(String::as_bytes));
    config.revision = revision(parts);
    let text = render(&config)?;
    let size = text.len() + listed.len() + texts.values().map(String::len).sum::<usize>();
    fits("spec.edm.wellKnownDomains with edm.toml and the other lists", size, "the lists")?;
    texts.insert(EDM_CONFIG_FILE.to_owned(), text);
    Ok(ConfigMap {
        metadata: metadata(namespace, edge, edm_config_name(edge)),
        data: Some(texts),
        binary_data: list.map(|list| BTreeMap::from([(WELL_KNOWN_DOMAINS_FILE.to_owned(), list)])),
        ..ConfigMap::default()
    })
}

fn lines(entries: &[String]) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

/// Everything at its default, as the file format itself has it.
fn bare() -> Result<EdmConfig, ConfigBuildError> {
    EdmConfig::parse(&format!("format = {}", EdmConfig::FORMAT))
        .map(|parsed| parsed.config)
        .map_err(|source| ConfigBuildError::Render { file: EDM_CONFIG_FILE, source })
}
