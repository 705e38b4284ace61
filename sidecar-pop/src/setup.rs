//! A checked configuration with the files that it names, made ready for work.

mod api;
mod keys;
mod memory;
mod redirects;
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tapir_wire::config::ConfigError;
use tapir_wire::config::pop::{DenyAction, DoubtRule, GlobalConfig, NotifyTarget, Peers, PopConfig, Soa, Source};
use tapir_wire::name::Name;
use tapir_wire::tags::TagError;
use tapir_wire::tsig::TsigKey;

use crate::dns::acl::Acl;
use crate::dns::records::WireName;
use crate::dns::zone::Apex;
use crate::feeds::bootstrap::Bootstrapping;
use crate::names::ZoneName;
use crate::notify::Target;
use crate::policy::explain::Binding;
use crate::policy::{Policy, Rule};
use crate::sources::Rules;
pub use api::ApiSetup;
use redirects::Redirects;
pub use sources::{Fetched, Files, From as FetchedFrom, ListFile, NoFiles};

/// Name of the socket in the data folder.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// Everything that `pop.yaml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Opaque mark of who rendered what.
    pub revision: String,
    /// No connection to Core.
    pub disabled: bool,
    /// Name of the zone.
    pub zone: ZoneName,
    /// Its own records.
    pub apex: Arc<Apex>,
    /// Where the zone is written as a file, too.
    pub zone_file: Option<PathBuf>,
    /// One version in this time, once the first change is told.
    pub publish_interval: Duration,
    /// How much history is kept; octets: at least.
    pub history: History,
    /// Octets of memory for observations.
    pub observation_octets: usize,
    /// Where it is served.
    pub listen: Vec<SocketAddr>,
    /// Who may ask there.
    pub acl: Acl,
    /// Keys that requests may be signed with.
    pub tsig_keys: Vec<TsigKey>,
    /// TCP connections at each address.
    pub connections: usize,
    /// Where probes and status are served.
    pub http_listen: SocketAddr,
    /// What upstream's tool talks to, if it is wanted and its key is good.
    pub api: Option<ApiSetup>,
    /// Folder of state.
    pub data_dir: PathBuf,
    /// For `tapir-pop ctl`.
    pub admin_socket: PathBuf,
    /// Resolvers that are told of a new serial.
    pub notify: Vec<Target>,
    /// Policy and lists.
    pub rules: Rules,
    /// Names of all sources, in the order of the file.
    pub sources: Vec<String>,
    /// Those of them that are fetched.
    pub fetched: Vec<Fetched>,
    /// The edge's other POPs.
    pub peers: Option<Peers>,
    /// Servers that know what was observed, by source.
    pub bootstraps: Vec<Bootstrapping>,
    /// Octets of one source as it is fetched, at most.
    pub source_octets: u64,
    /// Sources whose newest list makes this program panic; they go on with the one before.
    pub at_fault: Vec<String>,
    /// Sources that hold nothing and cannot, with the reason.
    pub idle_sources: Vec<(String, String)>,
    /// Sources as the policy sees them, in the order of the file.
    pub bindings: Vec<Binding>,
    /// Settings of Core are followed, within these bounds.
    pub global_config: Option<GlobalConfig>,
    /// Where Core is told how it is; its name of the node is still to be filled in.
    pub telemetry: Option<String>,
    /// What the file asks for and cannot be had.
    pub unserved: Vec<String>,
}

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Octets on disk, if that was said.
    pub octets: Option<u64>,
    /// Versions.
    pub versions: usize,
}

/// Octets of one source where nothing is said: some ten million names. They go to the disk, and as many on the way.
const SOURCE_OCTETS: u64 = 1 << 30;
/// TCP connections at each address where nothing is said.
pub const CONNECTIONS: usize = 64;
/// Versions that are kept where nothing is said.
const VERSIONS: usize = 65_536;

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
    /// Two keys, and a message could be signed with either.
    #[error(
        "TSIG keys of one name, {name}, with different {what} in {} and {}; give each key a name of its own, on both sides, or the same content to both files",
        files[0], files[1]
    )]
    TwinKeys {
        /// Name of both.
        name: String,
        /// Where they stand.
        files: [String; 2],
        /// In what they differ.
        what: &'static str,
    },
    /// Nowhere to serve it.
    #[error("key listen: holds no address; give one or several with port")]
    Listen,
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
        let deny = redirects.action(config.deny.own_action(), config.deny.redirect.as_ref());
        let rules = config.doubt.iter().map(|one| rule(one, &mut redirects)).collect::<Result<_, _>>()?;
        let policy = Policy { deny, rules, locals: redirects.into_locals(), record_ttl: config.record_ttl_seconds };
        let bindings = config.sources.iter().map(|source| binding(source, config.deny.action)).collect();
        let mut unserved = Vec::new();
        let mut keyring = keys::Keyring::new(files);
        let files: &mut dyn Files = &mut keyring;
        let mut key = |what: &str, file: &String| files.key(file).map_err(|error| unserved.push(format!("{what}: {error}"))).ok();
        let tsig_keys = config.access.tsig_key_files.iter().filter_map(|file| key("access", file)).collect();
        // Better told unsigned than not at all: whoever wants a signature does not take it, and the status says why.
        let target = |target: &NotifyTarget| Target {
            address: target.address,
            key: target.tsig_key_file.as_ref().and_then(|file| key("notify", file)),
        };
        let notify = config.notify.iter().map(target).collect();
        let api = config.api.as_ref().and_then(|api| api::ApiSetup::new(api, files).map_err(|error| unserved.push(error)).ok());
        if config.listen.is_empty() {
            return Err(SetupError::Listen);
        }
        let sources = sources::Sorted::new(&config.sources, &zone, files);
        keyring.check()?;
        unserved.extend(sources.troubles);
        let rules = Rules { mode: config.mode, policy, lists: sources.lists, cores: sources.cores };
        Ok(Self {
            apex: Arc::new(apex(&zone, &config.soa, config.record_ttl_seconds)),
            zone_file: config.zone_file.as_ref().map(|file| file.path.clone()),
            publish_interval: Duration::from_millis(config.publish_interval_milliseconds.into()),
            history: History {
                octets: config.journal.octets,
                versions: config.journal.serials.and_then(|serials| serials.try_into().ok()).unwrap_or(VERSIONS),
            },
            observation_octets: memory::for_observations(config.limits.observation_octets),
            revision: config.revision,
            disabled: config.disabled,
            zone,
            acl: Acl { clients: config.access.clients(), signed_only: config.access.signed_only },
            tsig_keys,
            connections: config.limits.connections.and_then(|most| most.try_into().ok()).unwrap_or(CONNECTIONS),
            listen: config.listen,
            http_listen: config.http_listen,
            admin_socket: config.admin.socket.unwrap_or_else(|| config.data_dir.join(ADMIN_SOCKET)),
            api,
            data_dir: config.data_dir,
            notify,
            rules,
            sources: config.sources.into_iter().map(|source| source.name).collect(),
            fetched: sources.fetched,
            peers: config.peers,
            bootstraps: sources.bootstraps,
            source_octets: config.limits.source_octets.unwrap_or(SOURCE_OCTETS),
            at_fault: sources.at_fault,
            idle_sources: sources.idle,
            bindings,
            global_config: config.global_config.enabled.then_some(config.global_config),
            telemetry: config.telemetry.enabled.then_some(config.telemetry.topic),
            unserved,
        })
    }
}

/// Names that were checked when the file was read; one that is none after all is the root.
fn apex(zone: &ZoneName, soa: &Soa, record_ttl: u32) -> Apex {
    let name = |text: &str| Name::parse(text).as_ref().map_or(WireName::ROOT, WireName::from);
    Apex {
        mname: name(&soa.mname),
        rname: name(&soa.rname),
        timers: [soa.refresh_seconds, soa.retry_seconds, soa.expire_seconds, soa.minimum_seconds],
        ..Apex::new(WireName::from(zone.name()), record_ttl)
    }
}

fn binding(source: &Source, deny: DenyAction) -> Binding {
    Binding {
        source: source.name.clone(),
        list: source.list,
        r#match: source.r#match,
        records: source.has_records(),
        keeps_action: source.keep_action || deny == DenyAction::Source,
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
