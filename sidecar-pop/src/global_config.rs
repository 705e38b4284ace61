//! Settings that Core sends (`globalConfig`, off where nothing is said): what of them counts, and what it makes of a configuration.
//!
//! `pop.yaml` is above them: a source that names topics or bootstrap servers of its own keeps them. The topic of the node material stays
//! beside those that Core names, so that nothing is lost where the broker grants a new one to nobody.

use std::net::SocketAddr;
use std::sync::Arc;

use tapir_wire::config::pop::{Bootstrap, GlobalConfig};
use tapir_wire::core_settings::{CoreSettings, CoreSettingsError};
use zeroize::Zeroizing;

use crate::feeds::bootstrap::Bootstrapping;
use crate::setup::Setup;

/// Messages that wait to be looked at; Core sends one now and then.
pub(crate) const WAITING: usize = 4;

/// Settings of Core that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromCore {
    /// What Core calls them.
    pub version: String,
    /// Where observations come, beside the topic of the node material.
    pub topics: Vec<String>,
    /// Servers for sources without any.
    pub bootstrap: Option<(Bootstrap, Option<Token>)>,
}

/// What bootstrap servers ask for.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Why settings change nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It says nothing.
    #[error("{0}")]
    Payload(#[from] CoreSettingsError),
    /// A topic that is somewhere else.
    #[error(
        "topic {topic} does not begin with {prefix}, as globalConfig.topicPrefix demands; the settings of before stay in force"
    )]
    Prefix {
        /// What Core names.
        topic: String,
        /// What is allowed.
        prefix: String,
    },
    /// It was said before what is in force.
    #[error("version {0} is older than version {1}, which stays in force")]
    Older(String, String),
    /// A server that cannot be asked, or a place that is not the server's.
    #[error(
        "the bootstrap settings are no addresses with port, or no URL that begins with https://%s/; the settings of before stay in force"
    )]
    Bootstrap,
}

impl FromCore {
    /// What a message says that Core signed; an error where it is to change nothing.
    pub fn judge(payload: &[u8], allowed: &GlobalConfig, in_force: Option<&Self>) -> Result<Self, SettingsError> {
        let settings = CoreSettings::parse(payload)?;
        if let Some(known) = in_force
            && settings.is_older_than(&known.version)
        {
            return Err(SettingsError::Older(settings.version, known.version.clone()));
        }
        if let Some(topic) = settings.topics.iter().find(|topic| !topic.starts_with(&allowed.topic_prefix)) {
            return Err(SettingsError::Prefix { topic: topic.clone(), prefix: allowed.topic_prefix.clone() });
        }
        let bootstrap = match settings.bootstrap {
            None => None,
            Some(told) => {
                let servers: Result<Vec<SocketAddr>, _> = told.servers.iter().map(|server| server.parse()).collect();
                let servers = servers.map_err(|_| SettingsError::Bootstrap)?;
                // Nobody but the server itself is asked, whose certificate must be of the node CA.
                let url = match told.base_url.as_str() {
                    "" => None,
                    url if url.strip_prefix("https://%s/").is_some_and(|rest| !rest.contains('%')) => Some(url.to_owned()),
                    _ => return Err(SettingsError::Bootstrap),
                };
                let token = (!told.api_token.is_empty()).then(|| Token(Zeroizing::new(told.api_token)));
                Some((Bootstrap { servers, url, key_file: None }, token))
            }
        };
        Ok(Self { version: settings.version, topics: settings.topics, bootstrap })
    }

    /// A configuration with these settings laid over it; `usual`: the topic of the node material.
    #[must_use]
    pub fn over(&self, setup: &Setup, usual: &str) -> Setup {
        let mut setup = setup.clone();
        let mut taken: Vec<String> = setup.rules.cores.iter().flat_map(|core| core.topics.clone()).collect();
        taken.push(usual.to_owned());
        let free: Vec<_> = self.topics.iter().filter(|topic| !taken.contains(topic)).cloned().collect();
        for core in setup.rules.cores.iter_mut().filter(|core| core.topics.is_empty()) {
            if let Some((from, token)) = &self.bootstrap
                && !setup.bootstraps.iter().any(|known| *known.source == *core.name)
            {
                let source: Arc<str> = core.name.as_str().into();
                let key = token.as_ref().map(|token| token.0.clone());
                setup.bootstraps.push(Bootstrapping { source, list: core.list_name.clone(), from: from.clone(), key });
            }
            if !free.is_empty() {
                core.topics = std::iter::once(usual.to_owned()).chain(free.iter().cloned()).collect();
            }
        }
        setup
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::setup::NoFiles;

    const USUAL: &str = "observations/down/tapir-pop";

    fn judge(topics: &[&str], version: &str, in_force: Option<&FromCore>) -> Result<FromCore, SettingsError> {
        let topics: Vec<_> = topics.iter().map(|topic| json!({"Topic": topic})).collect();
        let payload = json!({"TapirConfigVersion": version, "ObservationTopics": topics}).to_string();
        FromCore::judge(payload.as_bytes(), &GlobalConfig::default(), in_force)
    }

    fn setup(sources: &str) -> Setup {
        Setup::parse(&format!("format: 2\nsources: [{sources}]\n"), &mut NoFiles).unwrap().0
    }

    #[test]
    fn topics_are_bound_by_the_prefix_and_older_settings_change_nothing() {
        let first = judge(&["observations/down/new"], "9", None).unwrap();
        assert_eq!(first.topics, ["observations/down/new"]);
        assert!(matches!(judge(&["observations/down/new", "events/up/x"], "9", None), Err(SettingsError::Prefix { .. })));
        assert!(matches!(judge(&["observations/downstream"], "9", None), Err(SettingsError::Prefix { .. })));
        assert_eq!(judge(&["observations/down/old"], "8", Some(&first)), Err(SettingsError::Older("8".into(), "9".into())));
        assert!(judge(&["observations/down/next"], "10", Some(&first)).is_ok());
        assert_eq!(judge(&[], "10", Some(&first)), Err(CoreSettingsError::NoTopic.into()));
    }

    #[test]
    fn bootstrap_servers_are_asked_at_their_own_address_and_their_token_is_never_shown() {
        let judge = |servers: &[&str], url: &str| {
            let payload = json!({
                "ObservationTopics": [{"Topic": "observations/down/new"}],
                "Bootstrap": {"Servers": servers, "BaseUrl": url, "ApiToken": "a-secret-token"},
            });
            FromCore::judge(payload.to_string().as_bytes(), &GlobalConfig::default(), None)
        };
        let good = judge(&["192.0.2.1:5455"], "https://%s/api/v1").unwrap();
        assert!(!format!("{good:?}").contains("a-secret-token"));
        for (server, url) in [
            ("192.0.2.1:5455", "https://elsewhere.example/%s"),
            ("192.0.2.1:5455", "http://%s/api/v1"),
            ("192.0.2.1:5455", "https://%s/%s"),
            ("host.example:5455", "https://%s/api/v1"),
        ] {
            assert_eq!(judge(&[server], url), Err(SettingsError::Bootstrap), "{server} {url}");
        }
        let over = good.over(&setup("{name: c, list: Doubt, core: {}}"), USUAL);
        assert_eq!((over.bootstraps.len(), &*over.bootstraps[0].source), (1, "c"));
        let own = setup("{name: c, list: Doubt, core: {bootstrap: {servers: ['192.0.2.9:1']}}}");
        assert_eq!(good.over(&own, USUAL).bootstraps, own.bootstraps);
    }

    #[test]
    fn what_the_file_names_stays_and_so_does_the_usual_topic() {
        let told = judge(&["observations/down/new", "observations/down/mine", USUAL], "1", None).unwrap();
        let before = setup("{name: c, list: Doubt, core: {}}, {name: d, list: Doubt, core: {topics: [observations/down/mine]}}");
        let topics: Vec<_> = told.over(&before, USUAL).rules.cores.into_iter().map(|core| core.topics).collect();
        assert_eq!(
            topics,
            [vec![USUAL.to_owned(), "observations/down/new".to_owned()], vec!["observations/down/mine".to_owned()]]
        );
        // Nothing that is not known: the source stays one without topics, which follows the node material.
        let same = judge(&[USUAL], "1", None).unwrap();
        assert_eq!(same.over(&before, USUAL), before);
    }
}
