//! `pop.yaml`: a TapirPolicy as POP sees it, and where the zone is served.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::{ConfigError, Parsed, Place, Problem, judge_problems, judge_unknown};
use crate::name::{Name, NameError};
use crate::node::paths;
use crate::tags::{Tag, TagError, mask};

/// Configuration of POP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopConfig {
    /// Version of this file, [`PopConfig::FORMAT`].
    pub format: u32,
    /// Opaque mark of who rendered what; comes back in `/status`.
    #[serde(default)]
    pub revision: String,
    /// The edge was offboarded: no connection to Core; local lists are served on.
    #[serde(default)]
    pub disabled: bool,
    /// Whether matches are acted on or only logged by the resolver.
    #[serde(default)]
    pub mode: Mode,
    /// Name of the response policy zone.
    #[serde(default = "default_zone")]
    pub zone: String,
    /// Where the zone is served, UDP and TCP.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz`, `/metrics` and `/status` are served.
    #[serde(default = "default_http_listen")]
    pub http_listen: SocketAddr,
    /// Folder of everything that POP keeps.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Resolvers that are told of a new serial.
    #[serde(default)]
    pub notify: Vec<SocketAddr>,
    /// Where names come from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// What happens to names on deny lists.
    #[serde(default)]
    pub deny: Deny,
    /// What happens to names on doubt lists: all rules are evaluated, the most restrictive action wins.
    #[serde(default)]
    pub doubt: Vec<DoubtRule>,
}

impl PopConfig {
    /// The version that this build writes and fully knows.
    pub const FORMAT: u32 = 1;

    /// Every key of [`Self::FORMAT`].
    const KEYS: [&str; 24] = [
        "format",
        "revision",
        "disabled",
        "mode",
        "zone",
        "listen",
        "httpListen",
        "dataDir",
        "notify",
        "sources",
        "sources[].name",
        "sources[].list",
        "sources[].match",
        "sources[].core",
        "sources[].inline",
        "sources[].inline.names",
        "deny",
        "deny.action",
        "doubt",
        "doubt[].name",
        "doubt[].anyTags",
        "doubt[].allTags",
        "doubt[].minTags",
        "doubt[].action",
    ];

    /// Reads and checks the text of `pop.yaml`.
    ///
    /// In a newer format, sources and rules that this build cannot understand are left out with a warning: a rule that loses one of
    /// its conditions would fire more often than it was meant to.
    pub fn parse(text: &str) -> Result<Parsed<Self>, ConfigError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let keys = Keys::of_yaml(text, &Self::KEYS);
        let unreadable = |error: serde_saphyr::Error| unreadable(&error, &keys);
        let Format { format } = serde_saphyr::from_str(text).map_err(unreadable)?;
        let unknown = keys.unknown(&Self::KEYS);
        let strange = |list: &str, position: usize| {
            let path = format!("{list}[{position}].");
            unknown.iter().any(|key| key.path.starts_with(&path))
        };
        let mut warnings = judge_unknown(unknown.clone(), format, Self::FORMAT)?;
        let mut config: Self = serde_saphyr::from_str(text).map_err(unreadable)?;
        if format > Self::FORMAT {
            config.sources = keep(
                config.sources,
                &mut warnings,
                "source",
                |position, source| source.kinds() > 0 || !strange("sources", position),
            );
            config.doubt = keep(config.doubt, &mut warnings, "doubt rule", |position, _| {
                !strange("doubt", position)
            });
        }
        judge_problems(config.problems(), &keys)?;
        Ok(Parsed { config, warnings })
    }

    /// Text of `pop.yaml`.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        serde_saphyr::to_string(self).map_err(|error| ConfigError::Unwritable(error.to_string()))
    }

    /// The zone's name; always there in a configuration that [`Self::problems`] finds nothing wrong with.
    pub fn zone_name(&self) -> Result<Name, NameError> {
        Name::parse(&self.zone)
    }

    /// Rules that types cannot express. Names in lists are not among them: one bad line must not disarm a policy, so POP leaves
    /// it out and counts it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut found = |problem: Problem| problems.push(problem);
        if self.format == 0 {
            found(Problem::new("format", "is 0", "the first format is 1"));
        }
        match self.zone_name() {
            Ok(zone) if zone.is_root() => found(Problem::new(
                "zone",
                "is the root",
                "use a name such as dnstapir.",
            )),
            Ok(_) => {}
            Err(error) => found(Problem::new(
                "zone",
                format!("is no zone name ({error})"),
                "use a name such as dnstapir.",
            )),
        }
        if !self.data_dir.is_absolute() {
            found(Problem::new(
                "dataDir",
                "is not an absolute path",
                "write it from the root, as /var/lib/tapir/pop",
            ));
        }
        for (position, address) in self.notify.iter().enumerate() {
            if address.port() == 0 || address.ip().is_unspecified() {
                let field = format!("notify[{position}]");
                found(Problem::new(
                    field,
                    "cannot be sent to",
                    "give address and port of a resolver, as 127.0.0.1:53",
                ));
            }
        }
        for (position, source) in self.sources.iter().enumerate() {
            let field = |name: &str| format!("sources[{position}].{name}");
            let others = self
                .sources
                .iter()
                .take(position)
                .map(|source| source.name.as_str());
            check_name(field("name"), &source.name, others, "source")
                .into_iter()
                .for_each(&mut found);
            if source.kinds() != 1 {
                let remedy = "give exactly one of core and inline";
                found(Problem::new(
                    format!("sources[{position}]"),
                    format!("has {} kinds", source.kinds()),
                    remedy,
                ));
            }
        }
        if self.deny.action == Action::Passthru {
            let remedy = "use another action; to log without blocking set mode: Observe, to never block use a list: Allow";
            found(Problem::new(
                "deny.action",
                "is PASSTHRU, which denies nothing",
                remedy,
            ));
        }
        for (position, rule) in self.doubt.iter().enumerate() {
            let others = self
                .doubt
                .iter()
                .take(position)
                .map(|rule| rule.name.as_str());
            rule.problems(position, others)
                .into_iter()
                .for_each(&mut found);
        }
        problems
    }
}

/// Leaves out what this build cannot understand, with a warning each.
fn keep<T: Named>(
    items: Vec<T>,
    warnings: &mut Vec<String>,
    what: &str,
    understood: impl Fn(usize, &T) -> bool,
) -> Vec<T> {
    let mut kept = Vec::new();
    for (position, item) in items.into_iter().enumerate() {
        if understood(position, &item) {
            kept.push(item);
        } else {
            warnings.push(format!(
                "{what} {:?} is left out: this build does not know all that it says",
                item.name()
            ));
        }
    }
    kept
}

trait Named {
    fn name(&self) -> &str;
}

impl Named for Source {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for DoubtRule {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Source {
    fn kinds(&self) -> usize {
        usize::from(self.core.is_some()) + usize::from(self.inline.is_some())
    }
}

impl InlineSource {
    /// The names in canonical form, and for each that is none its position (from 0) and why. The root is refused: it would be
    /// everything.
    #[must_use]
    pub fn canonical(&self) -> (Vec<Name>, Vec<(usize, NameError)>) {
        let (mut good, mut bad) = (Vec::with_capacity(self.names.len()), Vec::new());
        for (position, text) in self.names.iter().enumerate() {
            match Name::parse(text.trim()) {
                Ok(name) if name.is_root() => bad.push((position, NameError::Empty)),
                Ok(name) => good.push(name),
                Err(error) => bad.push((position, error)),
            }
        }
        (good, bad)
    }
}

impl DoubtRule {
    /// `any_tags` as a mask; 0 without any.
    pub fn any_mask(&self) -> Result<u32, TagError> {
        mask(self.any_tags.iter().map(String::as_str))
    }

    /// `all_tags` as a mask; 0 without any.
    pub fn all_mask(&self) -> Result<u32, TagError> {
        mask(self.all_tags.iter().map(String::as_str))
    }

    fn problems<'a>(&self, position: usize, others: impl Iterator<Item = &'a str>) -> Vec<Problem> {
        let field = |name: &str| format!("doubt[{position}].{name}");
        let mut problems: Vec<_> = check_name(field("name"), &self.name, others, "rule")
            .into_iter()
            .collect();
        for (list, tags) in [("anyTags", &self.any_tags), ("allTags", &self.all_tags)] {
            for (index, tag) in tags.iter().enumerate() {
                if Tag::parse(tag).is_err() {
                    let remedy = "use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31";
                    problems.push(Problem::new(
                        field(&format!("{list}[{index}]")),
                        format!("is {tag:?}, no tag"),
                        remedy,
                    ));
                }
            }
        }
        match self.min_tags {
            None if self.any_tags.is_empty() && self.all_tags.is_empty() => {
                let remedy = "give at least one of anyTags, allTags and minTags";
                problems.push(Problem::new(
                    format!("doubt[{position}]"),
                    "has no condition",
                    remedy,
                ));
            }
            // 31 of the 32 bits count: looptest does not.
            Some(number) if !(1..=31).contains(&number) => {
                problems.push(Problem::new(
                    field("minTags"),
                    format!("is {number}"),
                    "use 1 to 31",
                ));
            }
            _ => {}
        }
        problems
    }
}

/// Names of sources and rules become labels of metrics and members of `/status`.
fn check_name<'a>(
    field: String,
    name: &str,
    mut others: impl Iterator<Item = &'a str>,
    what: &str,
) -> Option<Problem> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=63).contains(&name.len()) || !name.bytes().all(good) {
        return Some(Problem::new(
            field,
            "is no good name",
            "use 1 to 63 letters, digits, hyphens, underscores and dots",
        ));
    }
    if others.any(|other| other == name) {
        return Some(Problem::new(
            field,
            format!("{name:?} stands twice"),
            format!("give each {what} a name of its own"),
        ));
    }
    None
}

fn unreadable(error: &serde_saphyr::Error, keys: &Keys) -> ConfigError {
    let place = error
        .location()
        .filter(|location| location.line() > 0)
        .map_or_else(Place::default, |location| {
            let key = keys
                .at(location.line(), location.column())
                .map(|key| key.path.clone());
            Place {
                line: Some(location.line()),
                key,
            }
        });
    let missing = matches!(
        error.without_snippet(),
        serde_saphyr::Error::SerdeMissingField { .. }
    );
    let place = if missing {
        Place { key: None, ..place }
    } else {
        place
    };
    ConfigError::Unreadable {
        place,
        message: message(error),
    }
}

/// Whether the policy is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Matches get the policy's action.
    #[default]
    Enforce,
    /// Every match is published as `rpz-passthru.`: resolvers log, nothing is blocked.
    Observe,
}

/// Class of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum List {
    /// Never blocked.
    Allow,
    /// Always blocked.
    Deny,
    /// Blocked when a doubt rule says so.
    Doubt,
}

/// What an entry of a list covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// The name itself.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
}

/// One list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Unique name.
    pub name: String,
    /// Class.
    pub list: List,
    /// What an entry covers.
    #[serde(default)]
    pub r#match: Match,
    /// Observations of DNS TAPIR Core. Exactly one of the kinds is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSource>,
    /// Names that stand in this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,
}

/// Observations of DNS TAPIR Core over MQTT; topic and keys come with the node material.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreSource {}

/// Names that stand in the configuration itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineSource {
    /// DNS names.
    pub names: Vec<String>,
}

/// What the resolver does with a matching name. The order is that of restriction, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Answered as usual, but logged (`rpz-passthru.`).
    #[serde(rename = "PASSTHRU")]
    Passthru,
    /// Answered over TCP only (`rpz-tcp-only.`).
    #[serde(rename = "TCP-ONLY")]
    TcpOnly,
    /// The name exists, the type does not (`*.`).
    #[serde(rename = "NODATA")]
    Nodata,
    /// The name does not exist (`.`).
    #[serde(rename = "NXDOMAIN")]
    Nxdomain,
    /// No answer at all (`rpz-drop.`).
    #[serde(rename = "DROP")]
    Drop,
}

/// Action for deny lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deny {
    /// The action.
    pub action: Action,
}

impl Default for Deny {
    fn default() -> Self {
        Self {
            action: Action::Nxdomain,
        }
    }
}

/// One rule for names on doubt lists. Every condition that is given must hold; at least one must be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoubtRule {
    /// Unique name, shown where the rule decided.
    pub name: String,
    /// At least one of these tags (`globally_new`, `newly_registered`, `registry_investigation`, `looptest`, `bit0` to `bit31`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_tags: Vec<String>,
    /// All of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_tags: Vec<String>,
    /// At least so many tags. `looptest` does not count here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_tags: Option<u32>,
    /// The action when the rule fires.
    pub action: Action,
}

fn default_zone() -> String {
    "dnstapir.".to_owned()
}

#[expect(
    clippy::expect_used,
    reason = "a constant of this crate, parsed by a test"
)]
fn default_listen() -> SocketAddr {
    paths::RPZ_LISTEN
        .parse()
        .expect("RPZ_LISTEN is a socket address")
}

fn default_http_listen() -> SocketAddr {
    SocketAddr::from(([0u16; 8], paths::POP_HTTP_PORT))
}

fn default_data_dir() -> PathBuf {
    paths::POP_STATE_DIRECTORY.into()
}

/// What is wrong, without the place (said elsewhere) and without the text around it (it may be a list).
fn message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::MessageFormatter as _;

    serde_saphyr::DefaultMessageFormatter
        .format_message(error.without_snippet())
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r"format: 1
revision: r1
disabled: false
mode: Observe
zone: rpz.example.
listen: 127.0.0.1:5359
httpListen: '[::]:9842'
dataDir: /var/lib/tapir/pop
notify: ['127.0.0.1:53']
sources:
- {name: dns-tapir, list: Doubt, core: {}}
- name: own-deny
  list: Deny
  match: Subtree
  inline:
    names: [a.example, B.example., 'c..d', .]
deny: {action: DROP}
doubt:
- {name: both, anyTags: [globally_new], allTags: [looptest, bit31], minTags: 2, action: NXDOMAIN}
";

    fn full() -> PopConfig {
        PopConfig::parse(FULL).unwrap().config
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(PopConfig::parse(text).unwrap_err().to_string(), expected);
    }

    /// The full file with one text replaced.
    fn check_changed(from: &str, to: &str, expected: &str) {
        assert!(FULL.contains(from), "{from}");
        check_error(&FULL.replace(from, to), expected);
    }

    #[test]
    fn defaults_are_the_fixed_places_of_a_pod() {
        let config = PopConfig::parse("format: 1").unwrap().config;
        assert_eq!(config.listen.to_string(), paths::RPZ_LISTEN);
        assert_eq!(config.http_listen.to_string(), "[::]:9842");
        assert_eq!(
            (config.zone.as_str(), config.mode, config.deny.action),
            ("dnstapir.", Mode::Enforce, Action::Nxdomain)
        );
    }

    #[test]
    fn known_keys_are_those_that_are_written() {
        let text = full().to_yaml().unwrap();
        assert_eq!(
            PopConfig::parse(&text).unwrap(),
            Parsed {
                config: full(),
                warnings: vec![]
            }
        );
        assert_eq!(
            Keys::of_yaml(&text, &PopConfig::KEYS).unknown(&PopConfig::KEYS),
            []
        );
        // Every key was there, and none would be known that is not written.
        for key in PopConfig::KEYS {
            let others: Vec<_> = PopConfig::KEYS
                .into_iter()
                .filter(|other| *other != key)
                .collect();
            assert!(
                !Keys::of_yaml(&text, &PopConfig::KEYS)
                    .unknown(&others)
                    .is_empty(),
                "{key}"
            );
        }
    }

    #[test]
    fn inline_names_are_made_canonical_and_bad_ones_told_apart() {
        let (good, bad) = full().sources[1].inline.as_ref().unwrap().canonical();
        assert_eq!(
            good.iter().map(Name::as_str).collect::<Vec<_>>(),
            ["a.example.", "b.example."]
        );
        assert_eq!(bad, [(2, NameError::EmptyLabel), (3, NameError::Empty)]);
    }

    #[test]
    fn masks_of_rules() {
        let rule = &full().doubt[0];
        assert_eq!((rule.any_mask(), rule.all_mask()), (Ok(1), Ok(0x8000_0400)));
    }

    #[test]
    fn unreadable_files_name_key_and_line() {
        check_error("mode: Enforce", "line 1: missing field `format`");
        check_changed(
            "list: Deny",
            "list: Denied",
            "line 13, key sources[1].list: unknown variant `Denied`, expected one of Allow, Deny, Doubt",
        );
        check_changed(
            "    names: [",
            "    nams: [",
            "unknown key sources[1].inline.nams (line 16); check the spelling or remove it",
        );
        assert!(
            PopConfig::parse("format: [")
                .unwrap_err()
                .to_string()
                .starts_with("line 1")
        );
        assert!(PopConfig::parse("").is_err());
    }

    #[test]
    fn values_that_contradict_the_rules_name_field_and_remedy() {
        check_changed(
            "format: 1",
            "format: 0",
            "line 1, format is 0: the first format is 1",
        );
        check_changed(
            "zone: rpz.example.",
            "zone: rpz..example.",
            "line 5, zone is no zone name (domain name has an empty label): use a name such as dnstapir.",
        );
        check_changed(
            "127.0.0.1:53'",
            "127.0.0.1:0'",
            "line 9, notify[0] cannot be sent to: give address and port of a resolver, as 127.0.0.1:53",
        );
        check_changed(
            "name: own-deny",
            "name: dns-tapir",
            "line 12, sources[1].name \"dns-tapir\" stands twice: give each source a name of its own",
        );
        check_changed(
            "core: {}}",
            "core: {}, inline: {names: []}}",
            "line 11, sources[0] has 2 kinds: give exactly one of core and inline",
        );
        check_changed(
            ", core: {}}",
            "}",
            "line 11, sources[0] has 0 kinds: give exactly one of core and inline",
        );
        check_changed(
            "{action: DROP}",
            "{action: PASSTHRU}",
            "line 17, deny.action is PASSTHRU, which denies nothing: use another action; \
             to log without blocking set mode: Observe, to never block use a list: Allow",
        );
        check_changed(
            "bit31",
            "bit32",
            "line 19, doubt[0].allTags[1] is \"bit32\", no tag: \
             use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31",
        );
        check_changed(
            "minTags: 2",
            "minTags: 0",
            "line 19, doubt[0].minTags is 0: use 1 to 31",
        );
        check_changed(
            "anyTags: [globally_new], allTags: [looptest, bit31], minTags: 2, ",
            "",
            "line 19, doubt[0] has no condition: give at least one of anyTags, allTags and minTags",
        );
        check_changed(
            "name: both",
            "name: ''",
            "line 19, doubt[0].name is no good name: use 1 to 63 letters, digits, hyphens, underscores and dots",
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = FULL
            .replace("format: 1", "format: 0")
            .replace("minTags: 2", "minTags: 32");
        let ConfigError::Invalid(problems) = PopConfig::parse(&text).unwrap_err() else {
            panic!()
        };
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn a_newer_format_leaves_out_what_is_strange() {
        let text = r"format: 2
colour: blue
sources:
- {name: feed, list: Doubt, rpz: {zone: feed.example.}}
- {name: dns-tapir, list: Doubt, core: {depth: 1}}
doubt:
- {name: agreed, minSources: 2, anyTags: [globally_new], action: DROP}
- {name: plain, anyTags: [globally_new], action: NODATA}
";
        let Parsed { config, warnings } = PopConfig::parse(text).unwrap();
        assert_eq!(
            config
                .sources
                .iter()
                .map(|source| source.name.as_str())
                .collect::<Vec<_>>(),
            ["dns-tapir"]
        );
        assert_eq!(
            config
                .doubt
                .iter()
                .map(|rule| rule.name.as_str())
                .collect::<Vec<_>>(),
            ["plain"]
        );
        assert_eq!(
            warnings,
            [
                "key colour (line 2) belongs to format 2 and is ignored: this build knows format 1",
                "key sources[0].rpz (line 4) belongs to format 2 and is ignored: this build knows format 1",
                "key sources[1].core.depth (line 5) belongs to format 2 and is ignored: this build knows format 1",
                "key doubt[0].minSources (line 7) belongs to format 2 and is ignored: this build knows format 1",
                "source \"feed\" is left out: this build does not know all that it says",
                "doubt rule \"agreed\" is left out: this build does not know all that it says",
            ]
        );
    }

    #[test]
    fn large_lists_are_read() {
        let names = (0..50_000)
            .map(|number| format!("host-{number}.example"))
            .collect();
        let source = Source {
            name: "large".to_owned(),
            list: List::Deny,
            r#match: Match::Exact,
            core: None,
            inline: Some(InlineSource { names }),
        };
        let config = PopConfig {
            sources: vec![source],
            ..full()
        };
        assert_eq!(
            PopConfig::parse(&config.to_yaml().unwrap()).unwrap().config,
            config
        );
    }

    #[test]
    fn errors_do_not_repeat_lists() {
        for text in [
            "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: [{secret.example: 1}]}",
            "format: 2\nsources:\n- name: a\n  list: Deny\n  inline: {names: [{secret.example: 1}]}",
            "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: secret.example}",
            "format: 1\nsources:\n- name: a\n  list: Deny\n  inline: {names: [secret.example",
        ] {
            let error = PopConfig::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
            assert!(error.contains("line"), "{error}");
        }
    }
}
