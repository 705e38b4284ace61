//! One step of what [`plan`](super::plan) says, done.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use tapir_wire::enrolment::Configuration;

use super::enrol::{EnrolError, Worth};
use super::from_core::{FromCore, News};
use super::keeper::{CredentialsFound, KeepError, Keeper, Wanted};
use super::material::{Data, Keys, NODE_ANNOTATION, NODEMAN_ANNOTATION, facts};
use super::plan::Step;
use super::secrets::{Found, Origin, Secrets};
use crate::api::TapirEdge;
use crate::failpoint::Failpoint;
use crate::nodeman::Issued;

impl Keeper {
    pub(super) async fn perform(
        &self,
        step: Step,
        wanted: &Wanted,
        secrets: &Secrets,
        found: &Found,
        round: &mut FromCore,
    ) -> Result<(), KeepError> {
        match (step, &wanted.credentials, found) {
            (Step::CreatePending | Step::Adopt, credentials, _) => self.create_pending(credentials, secrets, found).await,
            (Step::Enrol, credentials, Found { pending: Some(pending), .. }) => {
                let (data, origin) = self.enrolled(credentials, wanted, pending).await?;
                let read_back = secrets.create_identity(data.clone(), &origin).await?;
                Failpoint::AfterIdentity.pass();
                if matches!(credentials, CredentialsFound::Existing(_)) {
                    round.news.push(News::Adopted { node: origin.node });
                }
                if read_back.and_then(|secret| secret.data) == Some(data) { Ok(()) } else { Err(KeepError::NotAsWritten) }
            }
            (Step::ReplaceByNew, credentials, Found { pending: Some(pending), identity: Some(identity), .. }) => {
                let (data, origin) = self.enrolled(credentials, wanted, pending).await?;
                secrets.archive(identity).await.map_err(KeepError::NotStored)?;
                Failpoint::ReenrolAfterArchive.pass();
                secrets.replace_identity(identity, data, &origin).await.map_err(KeepError::NotStored)?;
                Failpoint::ReenrolAfterReplace.pass();
                round.news.push(News::Replaced { from: facts(identity).node.unwrap_or_default(), to: origin.node });
                Ok(())
            }
            (Step::DiscardPending, credentials, Found { pending: Some(pending), .. }) => {
                // Without a readable data key there is nothing to lose; with one, all of it must be readable to ask.
                if facts(pending).data_key.is_some() {
                    let keys = Keys::from_secret(pending)?;
                    let named = credentials.usable().map(|(_, _, url)| url);
                    let node = || keys.data.kid().to_owned();
                    let url = keys.nodeman_url.as_deref().or(named).ok_or_else(|| KeepError::NoAddress(node()))?;
                    let nodeman = self.nodeman(wanted, url, keys.data.node_name())?;
                    match self.exchange(&nodeman, wanted).worth(&keys).await? {
                        Worth::None => {}
                        Worth::Enrolled => return Err(KeepError::PendingEnrolled { node: node() }),
                        Worth::Undecided(answer) => {
                            return Err(KeepError::PendingUndecided { node: node(), answer: answer.into() });
                        }
                    }
                }
                Ok(secrets.remove(pending).await?)
            }
            (Step::Renew, _, Found { identity: Some(identity), .. }) => self.renew(wanted, secrets, identity, round).await,
            (Step::Refresh, _, Found { identity: Some(identity), .. }) => self.refresh(wanted, secrets, identity, round).await,
            (Step::Record, _, Found { identity: Some(identity), .. }) => Ok(self.record(wanted, facts(identity).node).await?),
            (Step::RemovePending, _, Found { pending: Some(pending), .. }) => Ok(secrets.remove(pending).await?),
            (step, _, found) => {
                self.tend(step, secrets, found).await?;
                if step == Step::Restore {
                    round.news.push(News::Restored);
                }
                Ok(())
            }
        }
    }

    async fn create_pending(&self, credentials: &CredentialsFound, secrets: &Secrets, found: &Found) -> Result<(), KeepError> {
        let Some((node, fingerprint, nodeman_url)) = credentials.usable() else { return Ok(()) };
        let (keys, failpoint) = match credentials {
            CredentialsFound::Existing(existing) => (existing.keys()?, Some(Failpoint::AdoptAfterPending)),
            _ => (Keys::generate(node, nodeman_url)?, None),
        };
        let origin = Origin { node: node.to_string(), credentials: Some(fingerprint), remarks: BTreeMap::new() };
        secrets.create_pending(keys.to_pending(), &origin).await?;
        let failpoint = if found.identity.is_some() { Some(Failpoint::ReenrolAfterPending) } else { failpoint };
        if let Some(failpoint) = failpoint {
            failpoint.pass();
        }
        Ok(())
    }

    /// Enrols with pending keys, or takes over the node that they are of. Returns content and origin of the identity.
    async fn enrolled(&self, found: &CredentialsFound, wanted: &Wanted, pending: &Secret) -> Result<(Data, Origin), KeepError> {
        let Some((node, fingerprint, nodeman_url)) = found.usable() else { return Err(KeepError::Contended) };
        let keys = Keys::from_secret(pending)?;
        let nodeman = self.nodeman(wanted, nodeman_url, node)?;
        let exchange = self.exchange(&nodeman, wanted);
        let answer: Result<(Issued, Configuration), EnrolError> = match found {
            CredentialsFound::Valid { credentials, .. } => exchange.enrol(credentials, &keys).await,
            _ => exchange.adopt(&keys).await,
        };
        self.clocks(&nodeman);
        let (issued, configuration) = answer?;
        let data = keys.to_identity(&issued, &configuration, wanted.from_core.renew_at)?;
        let mut remarks = self.renewed_now(wanted);
        remarks.insert(NODEMAN_ANNOTATION.to_owned(), nodeman_url.to_owned());
        Ok((data, Origin { node: node.to_string(), credentials: Some(fingerprint), remarks }))
    }

    /// Steps that need neither credentials nor nodeman.
    pub(super) async fn tend(&self, step: Step, secrets: &Secrets, found: &Found) -> Result<(), kube::Error> {
        match (step, &found.identity, &found.rescue) {
            (Step::Protect, Some(identity), _) => secrets.protect(identity).await,
            (Step::Release, Some(identity), rescue) => {
                secrets.release(identity).await?;
                if rescue.is_some() {
                    Failpoint::RescueAfterRelease.pass();
                }
                Ok(())
            }
            (Step::CopyToRescue, Some(identity), rescue) => {
                secrets.copy_to_rescue(identity, rescue.as_ref()).await?;
                Failpoint::RescueAfterCopy.pass();
                Ok(())
            }
            (Step::Restore, _, Some(rescue)) => {
                secrets.restore(rescue).await?;
                Failpoint::RescueAfterRestore.pass();
                Ok(())
            }
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
}
