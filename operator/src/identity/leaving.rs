//! What becomes of an identity when its edge goes.

use k8s_openapi::api::core::v1::Secret;

use super::keeper::{KeepError, Keeper, MOST_STEPS, bare_facts};
use super::material::facts;
use super::plan::{Facts, Plan, rescue};
use super::secrets::Secrets;
use crate::failpoint::Failpoint;

/// Whether the edge may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing is half done.
    Done,
    /// A deleted identity is on its way back, and something else holds it: without the edge nobody would finish that.
    Waiting,
}

impl Keeper {
    /// For an edge that goes and leaves its identity: only finishes bringing back what somebody deleted, and takes the finalizer off.
    ///
    /// # Errors
    /// When the API server fails, or two keys stand in each other's way.
    pub async fn leave(&self, namespace: &str, edge: &str, namespace_terminating: bool) -> Result<Left, KeepError> {
        let secrets = Secrets::new(&self.client, namespace, edge);
        for _ in 0..MOST_STEPS {
            let found = secrets.read().await?;
            let identity = found.identity.as_ref().map(facts);
            if namespace_terminating {
                match (&found.identity, identity) {
                    (Some(secret), Some(identity)) if identity.protected => secrets.release(secret).await?,
                    _ => {}
                }
                return Ok(Left::Done);
            }
            let facts = Facts { identity, rescue: found.rescue.as_ref().map(facts), ..bare_facts() };
            let result = match rescue(&facts) {
                Some(Plan::Do(step)) => self.tend(step, &secrets, &found).await,
                Some(Plan::Blocked(blocked)) => return Err(blocked.into()),
                Some(Plan::Wait) => return Ok(Left::Waiting),
                Some(Plan::Settled { .. } | Plan::Leave) => return Ok(Left::Done),
                // Without its edge nobody brings it back: the finalizer would protect nothing, and hold up the namespace once this operator
                // or its rights there are gone.
                None => match (&found.identity, &facts.identity) {
                    (Some(secret), Some(identity)) if identity.protected => secrets.release(secret).await,
                    _ => return Ok(Left::Done),
                },
            };
            match result {
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                other => other?,
            }
        }
        Err(KeepError::Contended)
    }

    /// For an edge that goes and takes its identity along: erases the keys of the node that this edge was, and nothing else.
    /// What only has the right name, such as an identity that the edge was never allowed to adopt, is left as by
    /// [`leave`](Self::leave).
    ///
    /// # Errors
    /// When the API server fails, or two keys stand in each other's way.
    pub async fn erase(&self, namespace: &str, edge: &str, recorded: Option<&str>) -> Result<Left, KeepError> {
        let secrets = Secrets::new(&self.client, namespace, edge);
        let own = |secret: &&Secret| secrets.made(secret) && recorded.is_some() && facts(secret).node.as_deref() == recorded;
        let found = secrets.read().await?;
        if let Some(identity) = found.identity.as_ref().filter(own) {
            if facts(identity).protected {
                secrets.release(identity).await?;
                Failpoint::EraseAfterRelease.pass();
            }
            if let Some(identity) = secrets.read().await?.identity.as_ref().filter(own) {
                gone_is_fine(secrets.remove(identity).await)?;
            }
        }
        for secret in [&found.pending, &found.rescue].into_iter().flatten().filter(own) {
            gone_is_fine(secrets.remove(secret).await)?;
        }
        self.leave(namespace, edge, false).await
    }
}

fn gone_is_fine(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}
