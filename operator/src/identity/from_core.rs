//! What an identity has from Core once it is there: another certificate, and Core's configuration.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use tapir_plan::renewal::Percent;
use tapir_wire::enrolment::Configuration;
use tapir_wire::node_name::NodeName;

use super::enrol::EnrolError;
use super::keeper::{CredentialsFound, KeepError, Keeper, Wanted};
use super::material::{Keys, NODEMAN_ANNOTATION, Refreshed, configuration_digest, data_key, held_digest, node, refreshed};
use super::plan::Step;
use super::secrets::Secrets;
use super::silent::Said;
use crate::api::reasons::EventReason;
use crate::failpoint::Failpoint;
use crate::nodeman::{Nodeman, Refusal};

/// What may be had from Core in a round, and how.
#[derive(Clone, Debug)]
pub struct WantedFromCore {
    /// When a certificate is due.
    pub renew_at: Percent,
    /// Lifetime to ask for, in seconds.
    pub lifetime: Option<u64>,
    /// Somebody wants another certificate now; any new value says so.
    pub asked: Option<String>,
    /// The last renewal did not fail a moment ago.
    pub may_renew: bool,
    /// It is time to ask for the configuration.
    pub may_refresh: bool,
    /// How often in a row Core was not found where it was looked for.
    pub not_found: u32,
}

impl Default for WantedFromCore {
    /// Nothing but what comes with an enrolment.
    fn default() -> Self {
        Self { renew_at: Percent::DEFAULT, lifetime: None, asked: None, may_renew: false, may_refresh: false, not_found: 0 }
    }
}

/// What was had from Core in one round for an identity that is there; what was not tried is none.
#[derive(Debug, Default)]
pub struct FromCore {
    pub renewal: Option<Result<(), KeepError>>,
    pub refresh: Option<Result<(), KeepError>>,
    /// Becoming another node failed, or waits.
    pub replacement: Option<KeepError>,
    /// What is said of it, if it is what was said of an earlier attempt.
    pub replacement_words: Option<String>,
    pub news: Vec<News>,
    /// What Core said of the node, if that is what the identity holds now.
    pub said: Option<Said>,
    /// The identity is no longer what was read.
    pub wrote: bool,
}

/// What people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    CertificateRenewed {
        why: &'static str,
    },
    /// A node that was enrolled elsewhere is this edge now.
    Adopted {
        node: String,
    },
    /// A deleted identity is back.
    Restored,
    /// Core lists other keys for observations than before.
    TrustedKeysChanged {
        withdrawn: Vec<String>,
    },
    /// Core lists no key for observations any more.
    TrustedKeysEmpty,
    /// The edge is another node now.
    Replaced {
        from: String,
        to: String,
    },
}

impl News {
    /// Reason of the Event.
    #[must_use]
    pub fn reason(&self) -> EventReason {
        match self {
            Self::CertificateRenewed { .. } => EventReason::CertificateRenewed,
            Self::Adopted { .. } => EventReason::IdentityAdopted,
            Self::Restored => EventReason::IdentityRestored,
            Self::TrustedKeysChanged { .. } => EventReason::TrustedKeysChanged,
            Self::TrustedKeysEmpty => EventReason::TrustedKeysEmpty,
            Self::Replaced { .. } => EventReason::IdentityReplaced,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::CertificateRenewed { why } => format!("another certificate, with a new key ({why})"),
            Self::Adopted { node } => {
                format!("node {node}, which was enrolled elsewhere, is this edge now: nothing else may run as it")
            }
            Self::Restored => "the identity Secret was deleted, and is back as it was".to_owned(),
            Self::TrustedKeysChanged { withdrawn } if withdrawn.is_empty() => {
                "Core lists another key that may sign observations".to_owned()
            }
            Self::TrustedKeysChanged { withdrawn } => {
                format!(
                    "Core lists these keys for observations no more, and nothing that they signed is taken: {}",
                    withdrawn.join(", ")
                )
            }
            Self::TrustedKeysEmpty => {
                "Core lists no key that may sign observations: none is taken until it does; ask the operator of Core".to_owned()
            }
            Self::Replaced { from, to } => {
                format!("Core removed node {from}; this edge is node {to} now, and the old identity is kept beside it")
            }
        }
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::TrustedKeysEmpty)
    }
}

impl FromCore {
    /// Core said in this round that it knows no such node.
    #[must_use]
    pub fn removed(&self) -> bool {
        [&self.renewal, &self.refresh].into_iter().flatten().any(|result| result.as_ref().is_err_and(says_removed))
    }

    /// Notes a step that succeeded. Whether it is one of those whose failure is told beside the identity.
    pub(super) fn note(&mut self, step: Step, result: &Result<(), KeepError>) -> bool {
        if result.is_ok() {
            match step {
                Step::Renew => self.renewal = Some(Ok(())),
                Step::Refresh => self.refresh = Some(Ok(())),
                // What Core said before was of the old node.
                Step::ReplaceByNew => (self.renewal, self.refresh) = (Some(Ok(())), Some(Ok(()))),
                _ => {}
            }
        }
        matches!(
            step,
            Step::Renew | Step::Refresh | Step::ReplaceByNew | Step::CreatePending | Step::Adopt | Step::DiscardPending
        )
    }

    /// Notes a step that failed.
    pub(super) fn failed(&mut self, step: Step, error: KeepError) {
        match step {
            Step::Renew => self.renewal = Some(Err(error)),
            Step::Refresh => self.refresh = Some(Err(error)),
            _ => self.replacement = Some(error),
        }
    }
}

/// Whether Core said that there is no such node.
#[must_use]
pub fn says_removed(error: &KeepError) -> bool {
    matches!(error, KeepError::Enrol(EnrolError::Nodeman(error)) if error.refusal() == Some(Refusal::UnknownNode))
}

impl Keeper {
    /// Another certificate for a new TLS key, and with it what Core's configuration says now; the identity changes in one write, which is
    /// refused if anybody wrote meanwhile. An answer that is lost or dropped costs one certificate that nobody uses.
    pub(super) async fn renew(
        &self,
        wanted: &Wanted,
        secrets: &Secrets,
        identity: &Secret,
        round: &mut FromCore,
    ) -> Result<(), KeepError> {
        let keys = Keys::renewed(identity)?;
        let address = address(wanted, identity, keys.data.node_name())?;
        let nodeman = self.nodeman(wanted, &address, keys.data.node_name())?;
        let exchange = self.exchange(&nodeman, wanted);
        let answer = exchange.renew(&keys).await;
        self.clocks(&nodeman);
        let issued = answer?;
        let configuration = exchange.configuration().await;
        Failpoint::RenewAfterAnswer.pass();
        let renew_at = wanted.from_core.renew_at;
        let data = keys.to_renewed(identity, &issued, configuration.as_ref().ok(), renew_at)?;
        let change = configuration.as_ref().ok().map(|configuration| refreshed(identity, configuration, renew_at)).transpose()?;
        secrets.change_identity(identity, data, self.renewed_now(wanted)).await.map_err(KeepError::NotStored)?;
        Failpoint::RenewAfterWrite.pass();
        round.news.push(News::CertificateRenewed { why: why(wanted, identity) });
        round.news.extend(change.flatten().as_ref().and_then(news));
        round.said = configuration.as_ref().ok().map(|configuration| said(&nodeman, configuration));
        round.refresh = Some(configuration.map(drop).map_err(KeepError::Enrol));
        Ok(())
    }

    /// Follows Core's configuration: a key that Core no longer lists is distrusted with this write.
    pub(super) async fn refresh(
        &self,
        wanted: &Wanted,
        secrets: &Secrets,
        identity: &Secret,
        round: &mut FromCore,
    ) -> Result<(), KeepError> {
        let node = data_key(identity)?.node_name().clone();
        let nodeman = self.nodeman(wanted, &address(wanted, identity, &node)?, &node)?;
        let configuration: Result<Configuration, EnrolError> = self.exchange(&nodeman, wanted).configuration().await;
        self.clocks(&nodeman);
        let configuration = configuration?;
        let change = refreshed(identity, &configuration, wanted.from_core.renew_at)?;
        let said = Some(said(&nodeman, &configuration));
        let Some(change) = change else {
            round.said = said;
            return Ok(());
        };
        Failpoint::RefreshBeforeWrite.pass();
        round.wrote = true;
        let mut data = identity.data.clone().unwrap_or_default();
        data.extend(change.members.clone());
        secrets.change_identity(identity, data, [].into()).await.map_err(KeepError::NotStored)?;
        tracing::info!(namespace = wanted.namespace, edge = wanted.edge, "the identity holds Core's new configuration");
        round.said = said;
        round.news.extend(news(&change));
        Ok(())
    }
}

impl Keeper {
    /// What Core said when the identity was written, where Core was not asked in this round: the next look asks Core alone.
    pub(super) fn said_before(&self, wanted: &Wanted, identity: &Secret, round: &FromCore) -> Option<Said> {
        if round.renewal.is_some() || round.refresh.is_some() || round.replacement.is_some() {
            return None;
        }
        let digest = held_digest(identity, wanted.from_core.renew_at)?;
        let node = data_key(identity).ok()?.node_name().clone();
        let nodeman = self.nodeman(wanted, &address(wanted, identity, &node).ok()?, &node).ok()?;
        Some(Said { nodeman, digest })
    }
}

fn said(nodeman: &Nodeman, configuration: &Configuration) -> Said {
    Said { nodeman: nodeman.clone(), digest: configuration_digest(configuration) }
}

fn why(wanted: &Wanted, identity: &Secret) -> &'static str {
    let asked = wanted.from_core.asked.as_ref();
    let done = identity.annotations().get(super::material::RENEWED_FOR_ANNOTATION);
    if asked.is_some() && asked != done { "asked for by annotation" } else { "in time" }
}

fn news(change: &Refreshed) -> Option<News> {
    if change.none_trusted {
        return Some(News::TrustedKeysEmpty);
    }
    change.keys_changed.then(|| News::TrustedKeysChanged { withdrawn: change.withdrawn.clone() })
}

/// Where a node's nodeman is asked: as the credentials say, if they are still those of this node; else where it was enrolled; else where
/// Core said that it is. If it is not found there, the next one is tried: credentials are often left as they were, and Core may move.
fn address(wanted: &Wanted, identity: &Secret, name: &NodeName) -> Result<String, KeepError> {
    let credentials = wanted.credentials.usable().filter(|(node, ..)| *node == name).map(|(_, _, url)| url.to_owned());
    let enrolled = identity.annotations().get(NODEMAN_ANNOTATION).cloned();
    let said = node(identity).and_then(|document| document.nodeman_url);
    let mut known: Vec<String> = Vec::new();
    for url in [credentials, enrolled, said].into_iter().flatten() {
        if !known.contains(&url) {
            known.push(url);
        }
    }
    let turn = usize::try_from(wanted.from_core.not_found).unwrap_or_default().checked_rem(known.len());
    turn.map(|turn| known.swap_remove(turn)).ok_or_else(|| KeepError::NoAddress(name.to_string()))
}

impl CredentialsFound {
    /// Whether there are any for another node.
    #[must_use]
    pub fn are_for_another_than(&self, name: &str) -> bool {
        self.usable().is_some_and(|(node, ..)| node.as_str() != name)
    }
}
