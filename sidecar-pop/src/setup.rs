//! A checked configuration with the files that it names, made ready for work.

mod redirects;
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;

use tapir_wire::config::ConfigError;
use tapir_wire::config::pop::{DenyAction, DoubtRule, PopConfig};
use tapir_wire::tags::TagError;

use crate::names::ZoneName;
use crate::policy::{Policy, Rule};
use crate::sources::Rules;
use redirects::Redirects;
pub use sources::{Files, ListFile, NoFiles};

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
    /// Names of all sources, in the order of the file.
    pub sources: Vec<String>,
    /// Sources that hold nothing and cannot, with the reason.
    pub idle_sources: Vec<(String, String)>,
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
    /// Reads the text of `pop.yaml` and the files that it names; with it come warnings.
    pub fn parse(text: &str, files: &mut dyn Files) -> Result<(Self, Vec<String>), SetupError> {
        let parsed = PopConfig::parse(text)?;
        Ok((Self::new(parsed.config, files)?, parsed.warnings))
    }

    /// From a configuration. A list that cannot be read is no reason to refuse the rest.
    pub fn new(config: PopConfig, files: &mut dyn Files) -> Result<Self, SetupError> {
        let zone = config.zone_name().ok().and_then(ZoneName::new).ok_or(SetupError::Zone)?;
        let mut redirects = Redirects::default();
        let deny = config.deny.action.action().unwrap_or(DenyAction::OTHERWISE);
        let deny = redirects.action(deny, config.deny.redirect.as_ref());
        let rules = config.doubt.iter().map(|one| rule(one, &mut redirects)).collect::<Result<_, _>>()?;
        let policy = Policy { deny, rules, locals: redirects.into_locals(), record_ttl: config.record_ttl_seconds };
        let sources = sources::Sorted::new(&config.sources, &zone, files);
        let rules = Rules { mode: config.mode, policy, lists: sources.lists, core: sources.core };
        Ok(Self {
            revision: config.revision,
            disabled: config.disabled,
            zone,
            listen: config.listen,
            http_listen: config.http_listen,
            data_dir: config.data_dir,
            notify: config.notify,
            rules,
            sources: config.sources.into_iter().map(|source| source.name).collect(),
            idle_sources: sources.idle,
        })
    }
}

fn rule(rule: &DoubtRule, redirects: &mut Redirects) -> Result<Rule, SetupError> {
    let failed = |source| SetupError::Tag { rule: rule.name.clone(), source };
    let given = |tags: &[String], mask: u32| (!tags.is_empty()).then_some(mask);
    Ok(Rule {
        name: rule.name.clone(),
        any_tags: given(&rule.any_tags, rule.any_mask().map_err(failed)?),
        all_tags: given(&rule.all_tags, rule.all_mask().map_err(failed)?),
        min_tags: rule.min_tags,
        min_sources: rule.min_sources,
        action: redirects.action(rule.action, rule.redirect.as_ref()),
    })
}
