//! Does what [`plan`](super::plan) says, one step at a time, and looks again after each. The steps themselves are in [`steps`](super::steps).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use tapir_plan::clock::{Clock, System};
use tapir_plan::gate::{Gate, Turn};
use tapir_wire::enrolment::Credentials as WireCredentials;
use tapir_wire::node_name::NodeName;

use super::calls::Calls;
use super::due::{self, Certificate, Due};
use super::enrol::{EnrolError, Exchange};
use super::existing::Existing;
use super::from_core::{FromCore, WantedFromCore};
use super::material::{MaterialError, RENEWED_AT_ANNOTATION, RENEWED_FOR_ANNOTATION, configuration_digest, facts};
use super::plan::{Blocked, Credentials, Facts, Plan, Step, plan};
use super::rivals::Rivals;
use super::secrets::{Found, Secrets, refused_as_terminating};
use super::silent::Looks;
use super::waits::Waits;
use crate::leader::Leadership;
use crate::nodeman::{Nodeman, NodemanError, Transports, TrustAnchors};
use crate::sidecars::EdgeKey;
use crate::telemetry::metrics::Metrics;

/// The longest way through the table is rescue, then enrolment; beyond this somebody keeps undoing our steps.
pub(super) const MOST_STEPS: usize = 16;
/// Calls to Core a second and at once, of all edges together, unless the chart says otherwise.
const CALLS_PER_SECOND: f64 = 10.0;
const CALLS_AT_ONCE: u32 = 20;
/// An enrolment waits behind certificates that end sooner than this.
const ENROLMENT_URGENCY: SignedDuration = SignedDuration::from_hours(1);
/// A look at the configuration waits behind everything but certificates with more time than this.
const REFRESH_URGENCY: SignedDuration = SignedDuration::from_hours(24);

/// The credentials as they were found.
#[derive(Debug)]
pub enum CredentialsFound {
    Missing {
        what: String,
    },
    Invalid {
        why: String,
    },
    Valid {
        credentials: WireCredentials,
        fingerprint: String,
        nodeman_url: String,
    },
    /// None to enrol with, but the data key of an installation that is enrolled.
    Existing(Box<Existing>),
}

impl CredentialsFound {
    /// Node that they are for, what tells them from others, and where it is to be asked for.
    #[must_use]
    pub fn usable(&self) -> Option<(&NodeName, String, &str)> {
        match self {
            Self::Valid { credentials, fingerprint, nodeman_url } => Some((&credentials.name, fingerprint.clone(), nodeman_url)),
            Self::Existing(existing) => Some((existing.data.node_name(), existing.fingerprint(), &existing.nodeman_url)),
            Self::Missing { .. } | Self::Invalid { .. } => None,
        }
    }
}

/// What the identity of one edge depends on.
#[derive(Debug)]
pub struct Wanted {
    pub namespace: String,
    pub edge: String,
    pub edge_uid: Option<String>,
    pub namespace_terminating: bool,
    /// Node that the edge is known to have been.
    pub recorded: Option<String>,
    pub credentials: CredentialsFound,
    /// Edge with the same credentials that goes first.
    pub shared_with: Option<String>,
    pub trust_anchors: Result<TrustAnchors, NodemanError>,
    /// There is to be no enrolment in this round, because the last attempt failed a moment ago.
    pub hold: bool,
    pub from_core: WantedFromCore,
}

/// How it stands with the identity.
#[derive(Debug)]
pub enum Kept {
    /// The edge is this node.
    Identity {
        secret: Box<Secret>,
        node: String,
        ignored_credentials: Option<String>,
        /// What was had from Core for it in this round.
        from_core: Box<FromCore>,
    },
    /// Something else must vanish first.
    Waiting,
    /// The namespace goes.
    Leaving,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Blocked(#[from] Blocked),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error("reading or writing the identity's Secrets: {0}")]
    Api(#[from] kube::Error),
    /// nodeman was asked, and what followed from its answer could not be written.
    #[error("storing what nodeman answered: {0}")]
    NotStored(#[source] kube::Error),
    #[error("identity material: {0}")]
    Material(#[from] MaterialError),
    #[error(
        "keys for node {node} are pending and Core has them on record: name the credentials of that node again, or move the pending Secret away to give that node up"
    )]
    PendingEnrolled { node: String },
    #[error(
        "keys for node {node} are pending from earlier credentials, and Core's answer ({answer}) does not prove that they are of no use: name the credentials of that node again, or delete the pending Secret to give that node up"
    )]
    PendingUndecided { node: String, answer: &'static str },
    #[error("the identity Secret does not read back as it was written")]
    NotAsWritten,
    #[error("the identity's Secrets are changed by somebody else all the time")]
    Contended,
    /// nodeman would have to be asked, and it is not time for that yet.
    #[error("waiting before nodeman is asked again")]
    Held,
    /// Too many edges ask Core at the same time; this one is to come back then.
    #[error("many edges ask Core at the same time, and the turn of this one is to come")]
    Later(Instant),
    #[error(
        "nothing says where the nodeman of node {0} is: put its credentials back where spec.enrollment names them, or write the address into the annotation dnstapir.se/nodeman-url of the identity Secret"
    )]
    NoAddress(String),
}

/// Keeps identities.
#[derive(Clone)]
pub struct Keeper {
    pub client: Client,
    pub leadership: Leadership,
    pub metrics: Metrics,
    pub clock: Arc<dyn Clock>,
    pub calls: Calls,
    pub rivals: Rivals,
    pub looks: Looks,
    pub waits: Waits,
    transports: Transports,
    gate: Arc<Mutex<Gate<EdgeKey>>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// With the clock of this machine.
    #[must_use]
    pub fn new(client: Client, leadership: Leadership, metrics: Metrics) -> Self {
        let gate = Arc::new(Mutex::new(Gate::new(CALLS_PER_SECOND, CALLS_AT_ONCE)));
        Self {
            client,
            leadership,
            metrics,
            clock: Arc::new(System),
            calls: Calls::default(),
            rivals: Rivals::default(),
            looks: Looks::default(),
            waits: Waits::default(),
            transports: Transports::default(),
            gate,
        }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// With so many calls to Core a second.
    #[must_use]
    pub fn with_calls_per_second(self, calls: u32) -> Self {
        let gate = Arc::new(Mutex::new(Gate::new(f64::from(calls.max(1)), calls.saturating_mul(2).max(2))));
        Self { gate, ..self }
    }

    /// Nothing is to be remembered of an edge that is gone.
    pub async fn forget(&self, edge: &EdgeKey) {
        self.calls.forget(edge);
        self.waits.forget(edge);
        self.gate().forget(edge);
        self.rivals.forget(edge).await;
    }

    /// Brings the identity of an edge to where it should be.
    ///
    /// # Errors
    /// When somebody must act, or nodeman or the API server fail; the same call may be repeated at any time. What fails beside an identity
    /// that is there is told with it.
    pub async fn keep(&self, wanted: &Wanted) -> Result<Kept, KeepError> {
        let secrets = Secrets::new(&self.client, &wanted.namespace, &wanted.edge);
        let mut facts = facts_of(wanted);
        let mut round = FromCore::default();
        let mut as_read = None;
        for _ in 0..MOST_STEPS {
            let found = match as_read.take() {
                Some(found) => found,
                None => secrets.read().await?,
            };
            look(&mut facts, &found);
            facts.due = self.due(wanted, &round, &found);
            facts.removed_at_core = round.removed() && round.replacement.is_none();
            let step = match plan(&facts) {
                Plan::Do(step) => step,
                Plan::Settled { node, ignored_credentials } => {
                    let Some(secret) = found.identity.map(Box::new) else { return Ok(Kept::Waiting) };
                    if round.said.is_none() {
                        round.said = self.said_before(wanted, &secret, &round);
                    }
                    return Ok(Kept::Identity { secret, node, ignored_credentials, from_core: Box::new(round) });
                }
                Plan::Wait => return Ok(Kept::Waiting),
                Plan::Leave => return Ok(Kept::Leaving),
                Plan::Blocked(blocked) => return Err(blocked.into()),
            };
            let result = match self.may_ask(step, wanted, &found) {
                Ok(()) => self.perform(step, wanted, &secrets, &found, &mut round).await,
                Err(wait) => Err(wait),
            };
            // Core said what is known already: nothing was written, and what changes here is another reason to look.
            as_read = (step == Step::Refresh && result.is_ok() && !round.wrote).then_some(found);
            if result.is_ok() {
                // What came of asking for Core's configuration is told where it was not as before.
                if step != Step::Refresh {
                    tracing::info!(
                        namespace = wanted.namespace,
                        edge = wanted.edge,
                        step = <&str>::from(step),
                        "identity step done"
                    );
                }
                if step == Step::Record {
                    facts.recorded = facts.identity.as_ref().and_then(|identity| identity.node.clone());
                }
            }
            // An identity that is there is not lost sight of because Core, or a write of what Core said, fails.
            if facts.identity.is_some() && round.note(step, &result) {
                if let Err(error) = result {
                    round.failed(step, error);
                }
                continue;
            }
            match result {
                Ok(()) => {}
                Err(KeepError::Api(error)) if refused_as_terminating(&error) => facts.namespace_terminating = true,
                // Somebody was faster, perhaps ourselves before a crash: look again.
                Err(KeepError::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                Err(KeepError::Api(error)) if step.asks_nodeman() => return Err(KeepError::NotStored(error)),
                Err(error) => return Err(error),
            }
        }
        Err(KeepError::Contended)
    }

    /// What is to be had from Core in this round and was not yet.
    fn due(&self, wanted: &Wanted, round: &FromCore, found: &Found) -> Due {
        let Some(identity) = &found.identity else { return Due::No };
        let now = self.clock.now();
        if wanted.from_core.may_renew && round.renewal.is_none() {
            let certificate = Certificate::of(identity, wanted.from_core.renew_at, now);
            if let Some(why) = due::renewal(identity, &certificate, wanted.from_core.asked.as_deref(), now) {
                return Due::Renew(why);
            }
        }
        if wanted.from_core.may_refresh && round.refresh.is_none() { Due::Refresh } else { Due::No }
    }

    /// Whether Core may be called for this step now.
    fn may_ask(&self, step: Step, wanted: &Wanted, found: &Found) -> Result<(), KeepError> {
        let now = self.clock.now();
        let urgency = match step {
            Step::Renew => found
                .identity
                .as_ref()
                .and_then(|identity| Certificate::of(identity, wanted.from_core.renew_at, now).ok())
                .map_or(now, |certificate| certificate.info.not_after),
            Step::Refresh => now.saturating_add(REFRESH_URGENCY).unwrap_or(Timestamp::MAX),
            Step::Enrol | Step::DiscardPending | Step::ReplaceByNew if wanted.hold => return Err(KeepError::Held),
            Step::CreatePending | Step::Enrol | Step::DiscardPending | Step::ReplaceByNew => {
                now.saturating_add(ENROLMENT_URGENCY).unwrap_or(Timestamp::MAX)
            }
            _ => return Ok(()),
        };
        let key = EdgeKey { namespace: wanted.namespace.clone(), name: wanted.edge.clone() };
        if step == Step::CreatePending {
            // Keys are made when their turn has come: until then another look would be all that comes of them.
            return passed(self.gate().apply(&key, urgency, Step::Enrol.calls(), Instant::now()));
        }
        self.turn(&key, urgency, step.calls())
    }

    fn gate(&self) -> MutexGuard<'_, Gate<EdgeKey>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, key: &EdgeKey, urgency: Timestamp, calls: u32) -> Result<(), KeepError> {
        passed(self.gate().ask(key, urgency, calls, Instant::now()))
    }

    /// When the turn of an edge that waits for Core is to come; none when it may ask, or does not wait.
    pub(super) fn comes(&self, key: &EdgeKey, now: Instant) -> Option<Instant> {
        self.gate().comes(key, now)
    }

    /// What Core says of a node now, as a digest.
    pub(super) async fn ask_again(&self, key: &EdgeKey, nodeman: &Nodeman) -> Result<[u8; 32], KeepError> {
        let urgency = self.clock.now().saturating_add(REFRESH_URGENCY).unwrap_or(Timestamp::MAX);
        self.turn(key, urgency, Step::Refresh.calls())?;
        let configuration = self.question(nodeman).configuration().await;
        self.clocks(nodeman);
        Ok(configuration_digest(&configuration?))
    }

    /// What an identity says of when, and for whom, its certificate was had.
    pub(super) fn renewed_now(&self, wanted: &Wanted) -> BTreeMap<String, String> {
        let mut remarks = BTreeMap::from([(RENEWED_AT_ANNOTATION.to_owned(), whole(self.clock.now()).to_string())]);
        if let Some(asked) = &wanted.from_core.asked {
            remarks.insert(RENEWED_FOR_ANNOTATION.to_owned(), asked.clone());
        }
        remarks
    }

    pub(super) fn exchange<'a>(&'a self, nodeman: &'a Nodeman, wanted: &Wanted) -> Exchange<'a> {
        Exchange { lifetime: wanted.from_core.lifetime, ..self.question(nodeman) }
    }

    fn question<'a>(&'a self, nodeman: &'a Nodeman) -> Exchange<'a> {
        let (leadership, metrics) = (&self.leadership, &self.metrics);
        Exchange { nodeman, leadership, metrics, clock: &*self.clock, lifetime: None }
    }

    pub(super) fn nodeman(&self, wanted: &Wanted, url: &str, node: &NodeName) -> Result<Nodeman, KeepError> {
        let anchors = wanted.trust_anchors.as_ref().map_err(|error| EnrolError::from(error.clone()))?;
        let transport = self.transports.get(anchors).map_err(EnrolError::from)?;
        Ok(Nodeman::new(transport, url, node.clone(), Arc::clone(&self.clock)))
    }

    /// Notes how far the clocks are apart.
    pub(super) fn clocks(&self, nodeman: &Nodeman) {
        if let Some(ahead) = nodeman.skew().seconds() {
            self.metrics.clock_skew(ahead);
        }
    }
}

fn passed(turn: Turn) -> Result<(), KeepError> {
    match turn {
        Turn::Now => Ok(()),
        Turn::At(turn) => Err(KeepError::Later(turn)),
    }
}

/// Without the fraction, as times of objects are written.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn facts_of(wanted: &Wanted) -> Facts {
    let credentials = match &wanted.credentials {
        CredentialsFound::Missing { what } => Credentials::Missing { what: what.clone() },
        CredentialsFound::Invalid { why } => Credentials::Invalid { why: why.clone() },
        CredentialsFound::Valid { credentials, fingerprint, .. } => {
            Credentials::Valid { node: credentials.name.to_string(), fingerprint: fingerprint.clone() }
        }
        CredentialsFound::Existing(existing) => {
            Credentials::Valid { node: existing.data.kid().to_owned(), fingerprint: existing.fingerprint() }
        }
    };
    let existing = match &wanted.credentials {
        CredentialsFound::Existing(existing) => Some(existing.data.thumbprint()),
        _ => None,
    };
    Facts {
        namespace_terminating: wanted.namespace_terminating,
        recorded: wanted.recorded.clone(),
        credentials,
        existing,
        shared_with: wanted.shared_with.clone(),
        ..bare_facts()
    }
}

pub(super) fn bare_facts() -> Facts {
    Facts {
        namespace_terminating: false,
        identity: None,
        pending: None,
        rescue: None,
        recorded: None,
        credentials: Credentials::Missing { what: String::new() },
        existing: None,
        shared_with: None,
        due: Due::No,
        removed_at_core: false,
    }
}

fn look(known: &mut Facts, found: &Found) {
    known.identity = found.identity.as_ref().map(facts);
    known.pending = found.pending.as_ref().map(facts);
    known.rescue = found.rescue.as_ref().map(facts);
}
