//! What to do next about a node's identity: pure and synchronous. The executor observes, asks, does the one step, and
//! observes again, so that dying between any two steps leaves a state that this table knows.
//!
//! ```text
//! nothing --CreatePending--> keys stored --Enrol--> identity written --Record--> edge remembers --RemovePending--> settled
//!                                ^                       |
//!                                |            deleted: CopyToRescue, Release, Restore, RemoveRescue
//!                  answer lost: Enrol again (nodeman knows the data key: renewal and configuration instead)
//!
//! an installation from elsewhere --Adopt--> keys stored --Enrol (renewal and configuration only)--> as above
//! settled, certificate due: Renew          settled, time to ask Core: Refresh
//! node removed at Core, credentials of another one: CreatePending, ReplaceByNew, Record, RemovePending
//! ```
//!
//! Two things can never be had again from Core: another data key for a node, and a node name for another node. Hence no
//! step destroys a data key unless the same key stands elsewhere or nodeman has another one on record for the node.

use super::due::Due;

/// What is known of one of the Secrets of an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFacts {
    /// Node whose data key it holds, by the key's `kid`; none when the content cannot be read.
    pub node: Option<String>,
    /// Fingerprint of the credentials that it was made with.
    pub credentials: Option<String>,
    /// Thumbprint of the data key.
    pub data_key: Option<String>,
    /// Hash of the whole content.
    pub content: String,
    /// Why it does not hold all that an identity must, if so.
    pub defect: Option<String>,
    /// Somebody deleted it.
    pub terminating: bool,
    /// It carries our finalizer.
    pub protected: bool,
}

/// The enrolment credentials that the edge names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Missing { what: String },
    Invalid { why: String },
    Valid { node: String, fingerprint: String },
}

/// Everything that the decision rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    pub namespace_terminating: bool,
    pub identity: Option<SecretFacts>,
    pub pending: Option<SecretFacts>,
    pub rescue: Option<SecretFacts>,
    /// Node that this edge is known to have been enrolled as.
    pub recorded: Option<String>,
    pub credentials: Credentials,
    /// Thumbprint of the data key, where the credentials are that of an installation that is enrolled.
    pub existing: Option<String>,
    /// Edge with the same credentials that goes first.
    pub shared_with: Option<String>,
    /// What is to be had from Core for the identity.
    pub due: Due,
    /// Core said in this very round that it knows no node of the identity's name.
    pub removed_at_core: bool,
}

/// One write, or one exchange with nodeman.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
pub enum Step {
    /// Make keys and store them as `<edge>-pending`.
    CreatePending,
    /// The pending keys are of another node than the credentials: ask nodeman whether they are that node's, and remove them if they
    /// cannot be.
    DiscardPending,
    /// Enrol with the pending keys, or recover an enrolment whose answer was lost; write `<edge>-identity`.
    Enrol,
    /// Put the finalizer on the identity.
    Protect,
    /// Write on the edge which node it is.
    Record,
    /// The identity is complete: remove `<edge>-pending`.
    RemovePending,
    /// The identity was deleted: copy it to `<edge>-identity-rescue`.
    CopyToRescue,
    /// Take the finalizer off the identity.
    Release,
    /// Create the identity from its copy.
    Restore,
    /// Remove the copy.
    RemoveRescue,
    /// Store the data key of an installation that was there before as `<edge>-pending`.
    Adopt,
    /// Have another certificate, with a new TLS key, and Core's configuration; change the identity in one write.
    Renew,
    /// Have Core's configuration; change the identity if it differs.
    Refresh,
    /// Enrol with the pending keys, put the identity of the removed node aside as `<edge>-identity-retired-…`, and put the new one in
    /// its place.
    ReplaceByNew,
}

impl Step {
    /// Whether nodeman is called in it.
    #[must_use]
    pub fn asks_nodeman(self) -> bool {
        self.calls() > 0
    }

    /// How many calls it takes, as a rule.
    #[must_use]
    pub fn calls(self) -> u32 {
        match self {
            Self::Enrol | Self::DiscardPending | Self::Refresh | Self::ReplaceByNew => 1,
            Self::Renew => 2,
            _ => 0,
        }
    }
}

/// Why nothing can be done until somebody acts. Variant names are condition reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum Blocked {
    #[error("{0}")]
    CredentialsMissing(String),
    #[error("{0}")]
    CredentialsInvalid(String),
    #[error(
        "the credentials are also those of TapirEdge {0}, which goes first; one node cannot be two edges: ask the operator of Core for credentials of another node"
    )]
    CredentialsShared(String),
    #[error(
        "the identity Secret holds node {found}, the credentials are for node {wanted}: name the credentials that belong to it, or copy that Secret elsewhere and delete it to enrol anew"
    )]
    IdentityMismatch { found: String, wanted: String },
    #[error("the identity Secret is damaged ({0}): restore it from a backup; its data key cannot be replaced at Core")]
    IdentityInvalid(String),
    #[error(
        "the rescued copy of the identity holds another data key than the identity Secret, and neither is destroyed: compare both, see that the right one is the content of the identity Secret, back the other one up and delete the copy"
    )]
    RescueConflict,
    #[error(
        "the identity of node {0} is gone and Core can neither replace a data key nor reuse a name: restore the Secret from a backup, or ask the operator of Core for a new node and put its credentials into the credentials Secret"
    )]
    IdentityLost(String),
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Do(Step),
    /// Nothing to do: the edge is this node.
    Settled {
        node: String,
        /// The credentials Secret names another node meanwhile, which this edge does not become.
        ignored_credentials: Option<String>,
    },
    /// Something else must go first; its disappearance will be seen.
    Wait,
    /// The namespace goes, and everything with it.
    Leave,
    Blocked(Blocked),
}

/// Decides.
#[must_use]
pub fn plan(facts: &Facts) -> Plan {
    if facts.namespace_terminating {
        return match &facts.identity {
            Some(identity) if identity.protected => Plan::Do(Step::Release),
            _ => Plan::Leave,
        };
    }
    if let Some(foreign) = foreign_deleted(facts) {
        return foreign;
    }
    if let Some(rescue) = rescue(facts) {
        return rescue;
    }
    match (&facts.identity, &facts.pending) {
        (Some(identity), _) => with_identity(facts, identity),
        (None, Some(pending)) => with_pending(facts, pending),
        (None, None) => with_nothing(facts),
    }
}

/// Somebody deleted the identity of a node that this edge is not, as `IdentityMismatch` asks for: brought back, it would be in the way
/// for ever. Only where credentials prove the mismatch; missing ones prove nothing.
fn foreign_deleted(facts: &Facts) -> Option<Plan> {
    let identity = facts.identity.as_ref().filter(|identity| identity.terminating && facts.rescue.is_none())?;
    let node = identity.node.as_ref().filter(|node| facts.recorded.as_ref() != Some(*node))?;
    match may_adopt(facts, identity, node) {
        Err(Blocked::IdentityMismatch { .. }) => Some(if identity.protected { Plan::Do(Step::Release) } else { Plan::Wait }),
        _ => None,
    }
}

/// Steps that bring back a deleted identity; none when nothing was deleted.
#[must_use]
pub fn rescue(facts: &Facts) -> Option<Plan> {
    match (&facts.identity, &facts.rescue) {
        (Some(identity), rescue) if identity.terminating => match rescue {
            Some(rescue) if rescue.content == identity.content => {
                Some(if identity.protected { Plan::Do(Step::Release) } else { Plan::Wait })
            }
            // An older copy of the same node is overwritten; another node's is not.
            Some(rescue) if rescue.data_key != identity.data_key => Some(Plan::Blocked(Blocked::RescueConflict)),
            Some(_) | None => Some(Plan::Do(Step::CopyToRescue)),
        },
        (Some(identity), Some(rescue)) => Some(if rescue.data_key == identity.data_key {
            Plan::Do(Step::RemoveRescue)
        } else {
            Plan::Blocked(Blocked::RescueConflict)
        }),
        (None, Some(_)) => Some(Plan::Do(Step::Restore)),
        (Some(_) | None, None) => None,
    }
}

fn with_identity(facts: &Facts, identity: &SecretFacts) -> Plan {
    let node = match (&identity.defect, &identity.node) {
        (None, Some(node)) => node.clone(),
        (defect, _) => {
            let defect = defect.clone().unwrap_or_else(|| "its data key cannot be read".to_owned());
            return Plan::Blocked(Blocked::IdentityInvalid(defect));
        }
    };
    let recorded = facts.recorded.as_ref() == Some(&node);
    if !recorded && let Err(blocked) = may_adopt(facts, identity, &node) {
        return Plan::Blocked(blocked);
    }
    if !identity.protected {
        return Plan::Do(Step::Protect);
    }
    if !recorded {
        return Plan::Do(Step::Record);
    }
    if facts.pending.as_ref().is_some_and(|pending| pending.data_key == identity.data_key) {
        return Plan::Do(Step::RemovePending);
    }
    let ignored_credentials = match &facts.credentials {
        Credentials::Valid { node: other, .. } if *other != node => Some(other.clone()),
        _ => None,
    };
    match (&ignored_credentials, facts.due) {
        (Some(other), _) if facts.removed_at_core && facts.shared_with.is_none() => Plan::Do(become_another(facts, other)),
        (_, Due::Renew(_)) => Plan::Do(Step::Renew),
        (_, Due::Refresh) => Plan::Do(Step::Refresh),
        (_, Due::No) => Plan::Settled { node, ignored_credentials },
    }
}

/// The node is no more, which Core has said in this round, and somebody put credentials of another one where those of this edge are. Both
/// are needed: a wrong address says "no such node" too, and credentials may be put in the wrong place.
fn become_another(facts: &Facts, other: &str) -> Step {
    match &facts.pending {
        None => start(facts),
        Some(pending) if prepared_for(facts, pending, other) => Step::ReplaceByNew,
        Some(_) => Step::DiscardPending,
    }
}

/// Whether pending keys are those that the credentials ask for.
fn prepared_for(facts: &Facts, pending: &SecretFacts, node: &str) -> bool {
    let same_key = facts.existing.as_ref().is_none_or(|existing| pending.data_key.as_ref() == Some(existing));
    pending.node.as_deref() == Some(node) && pending.defect.is_none() && same_key
}

/// The first step towards a node.
fn start(facts: &Facts) -> Step {
    if facts.existing.is_some() { Step::Adopt } else { Step::CreatePending }
}

/// An edge may take over an identity of its name when it shows the credentials that the identity was made with. Its own
/// pending keys show the same.
fn may_adopt(facts: &Facts, identity: &SecretFacts, node: &str) -> Result<(), Blocked> {
    if facts.pending.as_ref().is_some_and(|pending| pending.data_key == identity.data_key) {
        return Ok(());
    }
    match &facts.credentials {
        Credentials::Missing { what } => Err(Blocked::CredentialsMissing(what.clone())),
        Credentials::Invalid { why } => Err(Blocked::CredentialsInvalid(why.clone())),
        Credentials::Valid { node: wanted, fingerprint } => {
            let same_credentials = identity.credentials.as_ref().is_none_or(|made_with| made_with == fingerprint);
            if wanted == node && same_credentials {
                Ok(())
            } else {
                Err(Blocked::IdentityMismatch { found: node.to_owned(), wanted: wanted.clone() })
            }
        }
    }
}

fn with_pending(facts: &Facts, pending: &SecretFacts) -> Plan {
    match &facts.credentials {
        Credentials::Missing { what } => Plan::Blocked(Blocked::CredentialsMissing(what.clone())),
        Credentials::Invalid { why } => Plan::Blocked(Blocked::CredentialsInvalid(why.clone())),
        Credentials::Valid { node, .. } => match &facts.shared_with {
            Some(other) => Plan::Blocked(Blocked::CredentialsShared(other.clone())),
            None if prepared_for(facts, pending, node) => Plan::Do(Step::Enrol),
            None => Plan::Do(Step::DiscardPending),
        },
    }
}

fn with_nothing(facts: &Facts) -> Plan {
    match (&facts.credentials, &facts.recorded) {
        // Credentials of another node are the remedy for a lost identity; an installation with its data key is so for its own node too.
        (Credentials::Valid { node, .. }, Some(recorded)) if node != recorded || facts.existing.is_some() => {
            unless_shared(facts, start(facts))
        }
        (_, Some(recorded)) => Plan::Blocked(Blocked::IdentityLost(recorded.clone())),
        (Credentials::Missing { what }, None) => Plan::Blocked(Blocked::CredentialsMissing(what.clone())),
        (Credentials::Invalid { why }, None) => Plan::Blocked(Blocked::CredentialsInvalid(why.clone())),
        (Credentials::Valid { .. }, None) => unless_shared(facts, start(facts)),
    }
}

fn unless_shared(facts: &Facts, step: Step) -> Plan {
    match &facts.shared_with {
        Some(other) => Plan::Blocked(Blocked::CredentialsShared(other.clone())),
        None => Plan::Do(step),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
