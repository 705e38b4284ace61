//! What POP reads: `pop.yaml` and the lists beside it in the ConfigMap `<edge>-pop`, keys in the Secret `<edge>-pop-keys`, and the
//! data key in `<edge>-pop-datakey`.
//!
//! Lists are copied as they are: what stands in them is POP's to read and to report, and no business of the operator's.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use tapir_wire::config::pop::{self, PopConfig};
use tapir_wire::node::DATA_KEY;
use tapir_wire::node::paths::POP_CONFIG_FILE;

use super::config::{ConfigBuildError, MOST_BYTES, pop_config_name};
use super::{Edge, metadata, revision};
use crate::api::policy::{DoubtRule, Format, Source, TapirPolicySpec};
use crate::names;

/// What the sources of a policy point at, by the name of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Lists of ConfigMaps.
    pub lists: BTreeMap<String, Vec<u8>>,
    /// Keys of Secrets.
    pub keys: BTreeMap<String, ByteString>,
}

/// What POP reads of an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct PopFiles {
    /// `<edge>-pop`.
    pub config: ConfigMap,
    /// `<edge>-pop-keys`; none while no source needs a key.
    pub keys: Option<Secret>,
}

/// Name of the file with the list of a source.
fn list_file(source: &str) -> String {
    format!("list-{source}")
}

/// Name of the file with the key of a source.
fn key_file(source: &str) -> String {
    format!("tsig-{source}")
}

/// All of it while the edge lives. `policy` is absent only when POP is switched off and names none.
///
/// # Errors
/// When POP would refuse it, or when it does not fit into a ConfigMap.
pub fn pop_files(edge: &Edge<'_>, policy: Option<(&TapirPolicySpec, &Contents)>) -> Result<PopFiles, ConfigBuildError> {
    let notify = &edge.spec.resolver.notify;
    let address: IpAddr = notify.address.parse().map_err(ConfigBuildError::NotifyAddress)?;
    let mut config = match policy {
        Some((policy, _)) => translate(policy)?,
        None => bare()?,
    };
    config.disabled = !edge.spec.pop.enabled;
    config.zone.clone_from(&edge.spec.pop.zone);
    config.notify = vec![SocketAddr::new(address, notify.port).into()];
    config.telemetry.enabled = edge.spec.pop.tells_core();
    config.format = config.needed_format();
    let lists = policy.into_iter().flat_map(|(_, contents)| &contents.lists);
    let members: Members = lists.map(|(source, list)| (list_file(source), list.clone())).collect();
    let keys = policy.map(|(_, contents)| &contents.keys).filter(|keys| !keys.is_empty()).map(|keys| Secret {
        metadata: metadata(edge.namespace, edge.name, names::pop_keys(edge.name)),
        type_: Some("Opaque".to_owned()),
        data: Some(keys.iter().map(|(source, key)| (key_file(source), key.clone())).collect()),
        ..Secret::default()
    });
    Ok(PopFiles { config: config_map(edge.namespace, edge.name, config, members)?, keys })
}

/// The data key for POP, which signs nothing but telemetry.
#[must_use]
pub fn pop_data_key(edge: &Edge<'_>, key: ByteString) -> Secret {
    Secret {
        metadata: metadata(edge.namespace, edge.name, names::pop_data_key(edge.name)),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(DATA_KEY.to_owned(), key)])),
        ..Secret::default()
    }
}

/// POP's ConfigMap after the edge: no connection to Core, local lists served on. It is made from the present one, because the policy
/// may be gone already.
///
/// # Errors
/// When it cannot be rendered.
pub fn offboarded_pop_config(namespace: &str, edge: &str, present: Option<&ConfigMap>) -> Result<ConfigMap, ConfigBuildError> {
    let mut config = present
        .and_then(|map| map.data.as_ref()?.get(POP_CONFIG_FILE))
        .and_then(|text| PopConfig::parse(text).ok())
        .map_or_else(bare, |parsed| Ok(parsed.config))?;
    config.disabled = true;
    let lists = present.map(members).unwrap_or_default();
    config_map(namespace, edge, config, lists)
}

/// The part of `pop.yaml` that a policy decides.
///
/// # Errors
/// What POP would refuse, with the place in the policy.
pub fn translate(policy: &TapirPolicySpec) -> Result<PopConfig, ConfigBuildError> {
    let mut config = bare()?;
    config.mode = policy.mode.into();
    config.sources = policy.sources.iter().map(source).collect::<Result<_, _>>()?;
    config.deny =
        pop::Deny { action: policy.deny.action.into(), redirect: policy.deny.redirect.as_ref().map(Into::into), otherwise: None };
    config.doubt = policy.doubt.iter().map(rule).collect();
    config.record_ttl_seconds = policy.record_ttl_seconds;
    // The oldest that can say it: sidecars of the release before serve what they know.
    config.format = config.needed_format();
    match config.problems().first() {
        Some(problem) => Err(ConfigBuildError::Policy(problem.to_string())),
        None => Ok(config),
    }
}

/// Files beside `pop.yaml`.
type Members = BTreeMap<String, Vec<u8>>;

fn members(map: &ConfigMap) -> Members {
    let text = map.data.iter().flatten().filter(|(name, _)| *name != POP_CONFIG_FILE);
    let text = text.map(|(name, text)| (name.clone(), text.clone().into_bytes()));
    text.chain(map.binary_data.iter().flatten().map(|(name, bytes)| (name.clone(), bytes.0.clone()))).collect()
}

/// The revision covers the lists too, so that `/status` shows which ones are in force.
fn config_map(namespace: &str, edge: &str, mut config: PopConfig, members: Members) -> Result<ConfigMap, ConfigBuildError> {
    let render =
        |config: &PopConfig| config.to_yaml().map_err(|source| ConfigBuildError::Render { file: POP_CONFIG_FILE, source });
    config.revision = String::new();
    let bare = render(&config)?;
    let parts = members.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]);
    config.revision = revision(std::iter::once(bare.as_bytes()).chain(parts));
    let text = render(&config)?;
    let lists: usize = members.values().map(Vec::len).sum();
    fits(text.len(), lists)?;
    let (mut data, mut binary) = (BTreeMap::from([(POP_CONFIG_FILE.to_owned(), text)]), BTreeMap::new());
    for (name, bytes) in members {
        match String::from_utf8(bytes) {
            Ok(text) => drop(data.insert(name, text)),
            Err(error) => drop(binary.insert(name, ByteString(error.into_bytes()))),
        }
    }
    Ok(ConfigMap {
        metadata: metadata(namespace, edge, pop_config_name(edge)),
        data: Some(data),
        binary_data: (!binary.is_empty()).then_some(binary),
        ..ConfigMap::default()
    })
}

/// Whether `pop.yaml` and lists of so many bytes fit into one ConfigMap.
pub(crate) fn fits(config: usize, lists: usize) -> Result<(), ConfigBuildError> {
    match config.saturating_add(lists) {
        size if size <= MOST_BYTES => Ok(()),
        size if lists > 0 => Err(ConfigBuildError::ListsTooLarge { size }),
        size => Err(ConfigBuildError::TooLarge {
            what: "the TapirPolicy as pop.yaml",
            size,
            remedy: "spec.sources[].inline.names of the TapirPolicy",
        }),
    }
}

fn source(source: &Source) -> Result<pop::Source, ConfigBuildError> {
    let format = match source.format {
        Format::Domains => pop::Format::Domains,
        Format::Hosts => pop::Format::Hosts,
        Format::Csv => pop::Format::Csv,
        Format::Dawg => pop::Format::Dawg,
        Format::Rpz => pop::Format::Rpz,
    };
    let rpz = source.rpz.as_ref().map(|rpz| {
        let primary = rpz.primary.parse().map_err(|_| {
            ConfigBuildError::Policy(format!(
                "source {}: rpz.primary is no address with port: write 192.0.2.1:53 or [2001:db8::1]:53",
                source.name
            ))
        })?;
        Ok(pop::RpzSource {
            primaries: vec![primary],
            zone: rpz.zone.clone(),
            tsig_key_file: rpz.tsig_secret_ref.as_ref().map(|_| key_file(&source.name)),
            refresh_seconds: rpz.refresh_seconds,
            keep_seconds: rpz.keep_seconds,
            ..pop::RpzSource::default()
        })
    });
    Ok(pop::Source {
        r#match: source.r#match.into(),
        core: source
            .core
            .as_ref()
            .map(|core| pop::CoreSource { max_ttl_seconds: core.max_ttl_seconds, ..pop::CoreSource::default() }),
        inline: source.inline.as_ref().map(|inline| pop::InlineSource { names: inline.names.clone() }),
        file: source.config_map_ref.as_ref().map(|_| pop::FileSource {
            path: list_file(&source.name),
            format,
            ..pop::FileSource::default()
        }),
        rpz: rpz.transpose()?,
        https: source.https.as_ref().map(|https| pop::HttpsSource {
            url: https.url.clone(),
            format,
            sha256: https.sha256.clone(),
            refresh_seconds: https.refresh_seconds,
            keep_seconds: https.keep_seconds,
            ..pop::HttpsSource::default()
        }),
        ..pop::Source::new(source.name.clone(), source.list.into())
    })
}

fn rule(rule: &DoubtRule) -> pop::DoubtRule {
    pop::DoubtRule {
        name: rule.name.clone(),
        any_tags: rule.any_tags.clone(),
        all_tags: rule.all_tags.clone(),
        min_tags: rule.min_tags,
        min_sources: rule.min_sources,
        action: rule.action.into(),
        redirect: rule.redirect.as_ref().map(Into::into),
    }
}

/// Everything at its default, as the file format itself has it.
fn bare() -> Result<PopConfig, ConfigBuildError> {
    PopConfig::parse("format: 1")
        .map(|parsed| parsed.config)
        .map_err(|source| ConfigBuildError::Render { file: POP_CONFIG_FILE, source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::TapirEdgeSpec;

    fn spec() -> TapirEdgeSpec {
        serde_json::from_value(json!({"enrollment": {}, "resolver": {"container": "unbound"}})).unwrap()
    }

    fn policy() -> TapirPolicySpec {
        serde_json::from_value(json!({"sources": [
            {"name": "own", "list": "Deny", "configMapRef": {"name": "lists", "key": "own"}, "format": "Hosts"},
            {"name": "feed", "list": "Doubt", "rpz": {"primary": "[2001:db8::1]:53", "zone": "feed.example.", "tsigSecretRef": {"name": "k"}}}
        ]}))
        .unwrap()
    }

    fn contents(list: &[u8]) -> Contents {
        Contents {
            lists: BTreeMap::from([("own".to_owned(), list.to_vec())]),
            keys: BTreeMap::from([("feed".to_owned(), ByteString(b"key".to_vec()))]),
        }
    }

    fn built(list: &[u8]) -> Result<PopFiles, ConfigBuildError> {
        let (spec, policy, contents) = (spec(), policy(), contents(list));
        pop_files(&Edge { namespace: "dns", name: "demo", spec: &spec }, Some((&policy, &contents)))
    }

    fn revision(map: &ConfigMap) -> String {
        super::super::config::revision_of(map).unwrap()
    }

    #[test]
    fn lists_and_keys_lie_where_pop_yaml_says() {
        let files = built(b"0.0.0.0 bad.example\n").unwrap();
        let data = files.config.data.as_ref().unwrap();
        let config = PopConfig::parse(&data["pop.yaml"]).unwrap().config;
        assert_eq!(config.format, 2);
        let file = config.sources[0].file.as_ref().unwrap();
        assert_eq!((data[&file.path].as_str(), file.format), ("0.0.0.0 bad.example\n", pop::Format::Hosts));
        let rpz = config.sources[1].rpz.as_ref().unwrap();
        let keys = files.keys.unwrap();
        assert_eq!(keys.metadata.name.as_deref(), Some("demo-pop-keys"));
        assert_eq!(keys.data.unwrap()[rpz.tsig_key_file.as_ref().unwrap()].0, b"key");
        assert!(files.config.binary_data.is_none());
    }

    #[test]
    fn a_list_is_copied_octet_by_octet_and_changes_the_revision() {
        let odd = b"bad.example\r\n\xff\xfe\n\0";
        let (one, other) = (built(b"bad.example\n").unwrap(), built(odd).unwrap());
        assert_eq!(other.config.binary_data.as_ref().unwrap()["list-own"].0, odd);
        assert_ne!(revision(&one.config), revision(&other.config));
        assert_eq!(one, built(b"bad.example\n").unwrap());
    }

    #[test]
    fn lists_that_do_not_fit_are_refused_with_the_way_out() {
        let error = built(&vec![b'a'; MOST_BYTES]).unwrap_err();
        assert!(matches!(error, ConfigBuildError::ListsTooLarge { .. }), "{error}");
        assert!(error.to_string().contains("HTTPS"), "{error}");
        assert!(built(&vec![b'a'; MOST_BYTES - 4096]).is_ok());
    }

    #[test]
    fn the_oldest_format_that_can_say_it_is_written() {
        let old: TapirPolicySpec =
            serde_json::from_value(json!({"sources": [{"name": "core", "list": "Doubt", "core": {}}]})).unwrap();
        assert_eq!(translate(&old).unwrap().format, 1);
        assert_eq!(translate(&policy()).unwrap().format, 2);
    }

    #[test]
    fn telemetry_is_off_where_nothing_is_said() {
        let told = |enabled: bool, telemetry: bool| {
            let mut spec = spec();
            (spec.pop.enabled, spec.pop.telemetry.enabled) = (enabled, telemetry);
            let files = pop_files(&Edge { namespace: "dns", name: "demo", spec: &spec }, None).unwrap();
            let config = PopConfig::parse(&files.config.data.unwrap()["pop.yaml"]).unwrap().config;
            (config.format, config.telemetry)
        };
        let (on, off) = (pop::Telemetry { enabled: true, ..pop::Telemetry::default() }, pop::Telemetry::default());
        assert_eq!(told(true, spec().pop.telemetry.enabled), (1, off.clone()));
        assert_eq!(told(true, true), (2, on));
        assert_eq!(told(false, true), (1, off));
    }

    #[test]
    fn offboarding_keeps_the_lists() {
        let before = built(b"bad.example\n\xff").unwrap().config;
        let after = offboarded_pop_config("dns", "demo", Some(&before)).unwrap();
        assert_eq!(after.binary_data, before.binary_data);
        let config = PopConfig::parse(&after.data.as_ref().unwrap()["pop.yaml"]).unwrap().config;
        assert!(config.disabled && config.sources.len() == 2);
        assert_ne!(revision(&before), revision(&after));
    }

    #[test]
    fn what_pop_would_refuse_is_refused_here() {
        let bad: TapirPolicySpec =
            serde_json::from_value(json!({"deny": {"action": "Redirect", "redirect": {"name": "rpz-drop."}}})).unwrap();
        let error = translate(&bad).unwrap_err().to_string();
        assert!(error.contains("deny.redirect.name"), "{error}");
    }
}
