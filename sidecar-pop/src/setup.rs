//! A checked configuration, made ready for work.

use std::net::SocketAddr;
use std::path::PathBuf;

use tapir_wire::config::ConfigError;
use tapir_wire::config::pop::{DenyAction, DoubtRule, List, PopConfig, Source};
use tapir_wire::tags::TagError;

use crate::names::ZoneName;
use crate::policy::{Policy, Rule};
use crate::sources::{CoreSource, NameList, Rules};

/// Everything that `pop.yaml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Opaque mark of who rendered what.
    pub revision: String,
    /// No connection to Core.
    pub disabled: bool,
    /// Name of the zone.
    pub zone: ZoneName,
    /// Where it is served.
    pub listen: SocketAddr,
    /// Where probes and status are served.
    pub http_listen: SocketAddr,
    /// Folder of state.
    pub data_dir: PathBuf,
    /// Resolvers that are told of a new serial.
    pub notify: Vec<SocketAddr>,
    /// Policy and lists.
    pub rules: Rules,
    /// Sources that cannot work, with the reason.
    pub idle_sources: Vec<(String, &'static str)>,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SetupError {
    /// It does not keep the rules of the file.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A tag that is none.
    #[error("doubt rule {rule:?}: {source}")]
    Tag {
        /// Name of the rule.
        rule: String,
        /// Which tag.
        source: TagError,
    },
    /// Not a name, or the root.
    #[error("key zone: not a zone name; use a name such as dnstapir.")]
    Zone,
}

impl Setup {
    /// Reads the text of `pop.yaml`; with it come warnings.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), SetupError> {
        let parsed = PopConfig::parse(text)?;
        Ok((Self::new(parsed.config)?, parsed.warnings))
    }

    /// From a configuration.
    pub fn new(config: PopConfig) -> Result<Self, SetupError> {
        let zone = config.zone_name().ok().and_then(ZoneName::new).ok_or(SetupError::Zone)?;
        let rules = config.doubt.iter().map(rule).collect::<Result<_, _>>()?;
        let (core, idle_sources) = core_source(&config.sources);
        let lists = config.sources.iter().filter_map(|source| {
            let names = &source.inline.as_ref()?.names;
            Some(NameList::new(&source.name, source.list, source.r#match, &zone, names))
        });
        let rules = Rules {
            mode: config.mode,
            policy: Policy { deny: config.deny.action.action().unwrap_or(DenyAction::OTHERWISE), rules },
            lists: lists.collect(),
            core,
        };
        Ok(Self {
            revision: config.revision,
            disabled: config.disabled,
            zone,
            listen: config.listen,
            http_listen: config.http_listen,
            data_dir: config.data_dir,
            notify: config.notify,
            rules,
            idle_sources,
        })
    }
}

/// Core sends doubt lists, and one source takes them; others could never have an entry, which is worth saying but no reason to
/// refuse a whole policy.
fn core_source(sources: &[Source]) -> (Option<CoreSource>, Vec<(String, &'static str)>) {
    let (mut core, mut idle) = (None, Vec::new());
    for source in sources.iter().filter(|source| source.core.is_some()) {
        if source.list != List::Doubt {
            idle.push((source.name.clone(), "Core's observations are a Doubt list; nothing will come for another class"));
        } else if core.is_some() {
            idle.push((source.name.clone(), "another source takes Core's observations already"));
        } else {
            core = Some(CoreSource { name: source.name.clone(), r#match: source.r#match });
        }
    }
    (core, idle)
}

fn rule(rule: &DoubtRule) -> Result<Rule, SetupError> {
    let failed = |source| SetupError::Tag { rule: rule.name.clone(), source };
    let given = |tags: &[String], mask: u32| (!tags.is_empty()).then_some(mask);
    Ok(Rule {
        name: rule.name.clone(),
        any_tags: given(&rule.any_tags, rule.any_mask().map_err(failed)?),
        all_tags: given(&rule.all_tags, rule.all_mask().map_err(failed)?),
        min_tags: rule.min_tags,
        min_sources: rule.min_sources,
        action: rule.action,
    })
}
