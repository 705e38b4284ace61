//! Carries out what [`plan`](super::plan) says, one step at a time, and looks again after each.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use tapir_wire::enrolment::Credentials as WireCredentials;
use tapir_wire::node_name::NodeName;

use super::enrol::{EnrolError, Exchange, Worth};
use super::material::{Keys, MaterialError, NODE_ANNOTATION, facts};
use super::plan::{Blocked, Credentials, Facts, Plan, Step, plan};
use super::secrets::{Found, Origin, Secrets, refused_as_terminating};
use crate::api::TapirEdge;
use crate::failpoint::Failpoint;
use crate::leader::Leadership;
use crate::nodeman::{Nodeman, NodemanError, Transport, TrustAnchors};
use crate::telemetry::metrics::Metrics;

/// The longest way through the table is rescue, then enrolment; beyond this somebody keeps undoing our steps.
pub(super) const MOST_STEPS: usize = 16;

/// The credentials as they were found.
#[derive(Debug)]
pub enum CredentialsFound {
    Missing { what: String },
    Invalid { why: String },
    Valid { credentials: WireCredentials, fingerprint: String, nodeman_url: String },
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
    /// nodeman is not to be asked in this round, because the last attempt failed a moment ago.
    pub hold: bool,
}

/// How it stands with the identity.
#[derive(Debug)]
pub enum Kept {
    /// The edge is this node.
    Identity { secret: Box<Secret>, node: String, ignored_credentials: Option<String> },
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
}

/// Keeps identities.
#[derive(Clone)]
pub struct Keeper {
    pub client: Client,
    pub leadership: Leadership,
    pub metrics: Metrics,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Brings the identity of an edge to where it should be.
    ///
    /// # Errors
    /// When somebody must act, or nodeman or the API server fail; the same call may be repeated at any time.
    pub async fn keep(&self, wanted: &Wanted) -> Result<Kept, KeepError> {
        let secrets = Secrets::new(&self.client, &wanted.namespace, &wanted.edge);
        let mut facts = facts_of(wanted);
        for _ in 0..MOST_STEPS {
            let found = secrets.read().await?;
            look(&mut facts, &found);
            let step = match plan(&facts) {
                Plan::Do(step) if step.asks_nodeman() && wanted.hold => return Err(KeepError::Held),
                Plan::Do(step) => step,
                Plan::Settled { node, ignored_credentials } => {
                    let Some(secret) = found.identity.map(Box::new) else { return Ok(Kept::Waiting) };
                    return Ok(Kept::Identity { secret, node, ignored_credentials });
                }
                Plan::Wait => return Ok(Kept::Waiting),
                Plan::Leave => return Ok(Kept::Leaving),
                Plan::Blocked(blocked) => return Err(blocked.into()),
            };
            match self.perform(step, wanted, &secrets, &found).await {
                Ok(()) => {
                    tracing::info!(
                        namespace = wanted.namespace,
                        edge = wanted.edge,
                        step = <&str>::from(step),
                        "identity step done"
                    );
                    if step == Step::Record {
                        facts.recorded = facts.identity.as_ref().and_then(|identity| identity.node.clone());
                    }
                }
                Err(KeepError::Api(error)) if refused_as_terminating(&error) => facts.namespace_terminating = true,
                // Somebody was faster, perhaps ourselves before a crash: look again.
                Err(KeepError::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                Err(KeepError::Api(error)) if step.asks_nodeman() => return Err(KeepError::NotStored(error)),
                Err(error) => return Err(error),
            }
        }
        Err(KeepError::Contended)
    }

    async fn perform(&self, step: Step, wanted: &Wanted, secrets: &Secrets, found: &Found) -> Result<(), KeepError> {
        match (step, &wanted.credentials, found) {
            (Step::CreatePending, CredentialsFound::Valid { credentials, fingerprint, nodeman_url }, _) => {
                let keys = Keys::generate(&credentials.name, nodeman_url)?;
                let origin = Origin { node: credentials.name.to_string(), credentials: Some(fingerprint.clone()) };
                Ok(secrets.create_pending(keys.to_pending(), &origin).await?)
            }
            (
                Step::Enrol,
                CredentialsFound::Valid { credentials, fingerprint, nodeman_url },
                Found { pending: Some(pending), .. },
            ) => {
                let keys = Keys::from_secret(pending)?;
                let nodeman = nodeman(&wanted.trust_anchors, nodeman_url, &credentials.name)?;
                let (issued, configuration) = self.exchange(&nodeman).enrol(credentials, &keys).await?;
                let data = keys.to_identity(&issued, &configuration)?;
                let origin = Origin { node: credentials.name.to_string(), credentials: Some(fingerprint.clone()) };
                let read_back = secrets.create_identity(data.clone(), &origin).await?;
                Failpoint::AfterIdentity.pass();
                if read_back.and_then(|secret| secret.data) == Some(data) { Ok(()) } else { Err(KeepError::NotAsWritten) }
            }
            (Step::DiscardPending, CredentialsFound::Valid { nodeman_url, .. }, Found { pending: Some(pending), .. }) => {
                // Without a readable data key there is nothing to lose; with one, all of it must be readable to ask.
                if facts(pending).data_key.is_some() {
                    let keys = Keys::from_secret(pending)?;
                    let url = keys.nodeman_url.as_deref().unwrap_or(nodeman_url);
                    let nodeman = nodeman(&wanted.trust_anchors, url, keys.data.node_name())?;
                    let node = || keys.data.kid().to_owned();
                    match self.exchange(&nodeman).worth(&keys).await? {
                        Worth::None => {}
                        Worth::Enrolled => return Err(KeepError::PendingEnrolled { node: node() }),
                        Worth::Undecided(answer) => {
                            return Err(KeepError::PendingUndecided { node: node(), answer: answer.into() });
                        }
                    }
                }
                Ok(secrets.remove(pending).await?)
            }
            (Step::Record, _, Found { identity: Some(identity), .. }) => Ok(self.record(wanted, facts(identity).node).await?),
            (Step::RemovePending, _, Found { pending: Some(pending), .. }) => Ok(secrets.remove(pending).await?),
            (step, _, found) => Ok(self.tend(step, secrets, found).await?),
        }
    }

    /// Steps that need neither credentials nor nodeman.
    pub(super) async fn tend(&self, step: Step, secrets: &Secrets, found: &Found) -> Result<(), kube::Error> {
        match (step, &found.identity, &found.rescue) {
            (Step::Protect, Some(identity), _) => secrets.protect(identity).await,
            (Step::Release, Some(identity), _) => secrets.release(identity).await,
            (Step::CopyToRescue, Some(identity), rescue) => secrets.copy_to_rescue(identity, rescue.as_ref()).await,
            (Step::Restore, _, Some(rescue)) => secrets.restore(rescue).await,
            (Step::RemoveRescue, _, Some(rescue)) => secrets.remove(rescue).await,
            // The plan was made from what is no longer there: look again.
            _ => Ok(()),
        }
    }

    async fn record(&self, wanted: &Wanted, node: Option<String>) -> Result<(), kube::Error> {
        let api: Api<TapirEdge> = Api::namespaced(self.client.clone(), &wanted.namespace);
        // The uid makes the write fail if meanwhile another edge of this name was created.
        let patch = serde_json::json!({"metadata": {"uid": wanted.edge_uid, "annotations": {NODE_ANNOTATION: node}}});
        api.patch_metadata(&wanted.edge, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    fn exchange<'a>(&'a self, nodeman: &'a Nodeman) -> Exchange<'a> {
        Exchange { nodeman, leadership: &self.leadership, metrics: &self.metrics }
    }
}

fn nodeman(anchors: &Result<TrustAnchors, NodemanError>, url: &str, node: &NodeName) -> Result<Nodeman, KeepError> {
    let anchors = anchors.as_ref().map_err(|error| EnrolError::from(error.clone()))?;
    let transport = Transport::new(anchors).map_err(EnrolError::from)?;
    Ok(Nodeman::new(transport, url, node.clone()))
}

fn facts_of(wanted: &Wanted) -> Facts {
    let credentials = match &wanted.credentials {
        CredentialsFound::Missing { what } => Credentials::Missing { what: what.clone() },
        CredentialsFound::Invalid { why } => Credentials::Invalid { why: why.clone() },
        CredentialsFound::Valid { credentials, fingerprint, .. } => {
            Credentials::Valid { node: credentials.name.to_string(), fingerprint: fingerprint.clone() }
        }
    };
    Facts {
        namespace_terminating: wanted.namespace_terminating,
        recorded: wanted.recorded.clone(),
        credentials,
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
        shared_with: None,
    }
}

fn look(known: &mut Facts, found: &Found) {
    known.identity = found.identity.as_ref().map(facts);
    known.pending = found.pending.as_ref().map(facts);
    known.rescue = found.rescue.as_ref().map(facts);
}
