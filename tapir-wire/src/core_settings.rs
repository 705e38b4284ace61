//! Settings that Core sends to all policy processors: the payload on the configuration topic, under its signature.
//!
//! Members are looked for in any case, as upstream does; those that mean nothing to us (`Rpz`, `StatusTopics`, names of keys) are passed over.

use serde_json::{Map, Value};

/// What is looked at of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreSettings {
    /// `TapirConfigVersion`, as Core writes it.
    pub version: String,
    /// Where observations come; never empty.
    pub topics: Vec<String>,
    /// Servers that export what they have observed, as they are written.
    pub bootstrap: Option<BootstrapSettings>,
}

/// `Bootstrap` of a message that names a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BootstrapSettings {
    /// `Servers`.
    pub servers: Vec<String>,
    /// `BaseUrl`; empty where nothing is said.
    pub base_url: String,
    /// `ApiToken`; empty where nothing is said.
    pub api_token: String,
}

/// Without the token.
impl std::fmt::Debug for BootstrapSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { servers, base_url, api_token: _ } = self;
        f.debug_struct("BootstrapSettings").field("servers", servers).field("base_url", base_url).finish_non_exhaustive()
    }
}

/// Why a message says nothing. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CoreSettingsError {
    /// No JSON object.
    #[error("the settings are no JSON object")]
    NotJson,
    /// Nowhere to listen.
    #[error("the settings name no topic of observations")]
    NoTopic,
    /// A topic that is no topic, or more than [`CoreSettings::MOST`] of them.
    #[error("the settings name a topic that is none, or too many")]
    BadTopic,
}

impl CoreSettings {
    /// Topics, and servers, that are looked at.
    pub const MOST: usize = 16;
    /// Octets of a version, and of anything else that is kept.
    const LONGEST: usize = 1024;

    /// Reads what was signed.
    ///
    /// # Errors
    /// When it names no topic to go by; upstream ends its process over that.
    pub fn parse(payload: &[u8]) -> Result<Self, CoreSettingsError> {
        let Ok(Value::Object(settings)) = serde_json::from_slice(payload) else { return Err(CoreSettingsError::NotJson) };
        let listed = member(&settings, "ObservationTopics").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if listed.is_empty() {
            return Err(CoreSettingsError::NoTopic);
        }
        if listed.len() > Self::MOST {
            return Err(CoreSettingsError::BadTopic);
        }
        let mut topics: Vec<String> = Vec::new();
        for one in listed {
            let topic = one.as_object().map(|one| text(one, "Topic")).unwrap_or_default();
            if !(1..=Self::LONGEST).contains(&topic.len()) || topic.contains(['+', '#', '\0']) {
                return Err(CoreSettingsError::BadTopic);
            }
            if !topics.iter().any(|known| known == topic) {
                topics.push(topic.to_owned());
            }
        }
        Ok(Self {
            version: text(&settings, "TapirConfigVersion").chars().take(64).collect(),
            topics,
            bootstrap: member(&settings, "Bootstrap").and_then(Value::as_object).and_then(bootstrap),
        })
    }

    /// Whether these settings were made before others, as far as their numbers tell.
    #[must_use]
    pub fn is_older_than(&self, version: &str) -> bool {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        number(&self.version).zip(number(version)).is_some_and(|(ours, theirs)| ours < theirs)
    }
}

fn bootstrap(settings: &Map<String, Value>) -> Option<BootstrapSettings> {
    let servers = member(settings, "Servers").and_then(Value::as_array)?;
    let servers: Vec<_> = servers.iter().filter_map(Value::as_str).take(CoreSettings::MOST).map(str::to_owned).collect();
    let text = |name| text(settings, name).to_owned();
    (!servers.is_empty()).then(|| BootstrapSettings { servers, base_url: text("BaseUrl"), api_token: text("ApiToken") })
}

/// As Go looks for members: the very name first, then any spelling of it.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> &'a str {
    member(object, name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(settings: &Value) -> Result<CoreSettings, CoreSettingsError> {
        CoreSettings::parse(settings.to_string().as_bytes())
    }

    #[test]
    fn what_core_sends_is_read_in_any_spelling() {
        let settings = json!({
            "TapirConfigVersion": "17",
            "Rpz": {"EnvelopeSize": 400},
            "Bootstrap": {"Servers": ["192.0.2.1:5455"], "BaseUrl": "https://%s/api/v1", "ApiToken": "example-key"},
            "ObservationTopics": [{"Topic": "observations/down/tapir-pop", "PubKeyName": "", "PrivKeyName": ""}],
            "StatusTopics": [],
        });
        let read = parse(&settings).unwrap();
        assert_eq!((read.version.as_str(), read.topics.as_slice()), ("17", &["observations/down/tapir-pop".to_owned()][..]));
        let bootstrap = read.bootstrap.clone().unwrap();
        assert_eq!((bootstrap.servers.len(), bootstrap.api_token.as_str()), (1, "example-key"));
        assert!(!format!("{read:?}").contains("example-key"));
        let lower: Value = serde_json::from_str(&settings.to_string().to_ascii_lowercase()).unwrap();
        assert_eq!(parse(&lower), Ok(read));
    }

    #[test]
    fn settings_without_a_topic_say_nothing() {
        for (settings, error) in [
            (json!({"ObservationTopics": []}), CoreSettingsError::NoTopic),
            (json!({"ObservationTopics": null}), CoreSettingsError::NoTopic),
            (json!({"TapirConfigVersion": "1"}), CoreSettingsError::NoTopic),
            (json!({"ObservationTopics": [{"Topic": ""}]}), CoreSettingsError::BadTopic),
            (json!({"ObservationTopics": ["a"]}), CoreSettingsError::BadTopic),
            (json!({"ObservationTopics": [{"Topic": "a/#"}]}), CoreSettingsError::BadTopic),
            (json!({"ObservationTopics": vec![json!({"Topic": "a"}); 17]}), CoreSettingsError::BadTopic),
            (json!([]), CoreSettingsError::NotJson),
        ] {
            assert_eq!(parse(&settings), Err(error), "{settings}");
        }
        assert_eq!(CoreSettings::parse(b"{"), Err(CoreSettingsError::NotJson));
    }

    #[test]
    fn only_numbers_tell_which_is_older() {
        let of = |version: &str| CoreSettings { version: version.to_owned(), ..CoreSettings::default() };
        assert!(of("9").is_older_than("10"));
        assert!(!of("10").is_older_than("9") && !of("9").is_older_than("9"));
        assert!(!of("a").is_older_than("b") && !of("").is_older_than("1"));
    }
}
