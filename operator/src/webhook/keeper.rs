//! The leader's part: brings Secret and bundle from one state of the plan to the next. Any of it may be repeated, and may end anywhere.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use tapir_plan::clock::Clock;
use tapir_plan::webhook_certificate::{CertStep, Found, next};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::certificate::{CertificateError, Material};
use super::configuration::Configuration;
use crate::failpoint::Failpoint;
use crate::leader::{Leadership, LeaseTooShort};

/// Somebody may take out the bundle or empty the Secret: how long that lasts at most.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// After something went wrong.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// For one write.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("asking the API server about the webhook's certificate: {0}")]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Lease(#[from] LeaseTooShort),
    #[error("Secret {0} is not there: the chart makes it, so install the release again")]
    NoSecret(String),
}

/// Keeps the certificate of the webhook.
pub struct Keeper {
    secrets: Api<Secret>,
    configuration: Configuration,
    name: String,
    names: Vec<String>,
    leadership: Leadership,
    clock: Box<dyn Clock>,
    /// The bundle that the API server is known to have, and since when.
    published: Option<(String, Timestamp)>,
    /// A certificate can be served.
    serves: bool,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keeper").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Keeper {
    /// For Secret and configuration of this name, in this namespace; `names` are those that API servers ask for.
    #[must_use]
    pub fn new(
        client: &Client,
        namespace: &str,
        name: &str,
        names: &[String],
        leadership: Leadership,
        clock: Box<dyn Clock>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            configuration: Configuration::new(client.clone(), name),
            name: name.to_owned(),
            names: names.to_vec(),
            leadership,
            clock,
            published: None,
            serves: false,
        }
    }

    /// Until `stop`; tells when there is a certificate.
    pub async fn keep(mut self, made: impl Fn(), stop: CancellationToken) {
        let mut failing = false;
        loop {
            let round = self.round().await;
            if self.serves {
                made();
            }
            let pause = match round {
                Ok(Some(until)) => {
                    failing = false;
                    let left = Duration::try_from(self.clock.now().duration_until(until)).unwrap_or_default();
                    left.clamp(Duration::from_secs(1), LOOK_AGAIN)
                }
                Ok(None) => continue,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = %error, "the webhook's certificate is not as it should be, trying on");
                    }
                    AGAIN_AFTER_FAILURE.mul_f64(1.0 + rand::random::<f64>() / 2.0)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look and at most one step; a time when there is nothing to do before.
    ///
    /// # Errors
    /// When the API server refuses, or when the lease would end before the write.
    pub async fn round(&mut self) -> Result<Option<Timestamp>, KeeperError> {
        let secret = self.secrets.get_opt(&self.name).await?.ok_or_else(|| KeeperError::NoSecret(self.name.clone()))?;
        let (material, now) = (Material::of(&secret), self.clock.now());
        let published = self.published_since(&material, now).await?;
        let leaf = material.leaf(&self.names, now);
        self.serves = leaf.is_some();
        let found = Found { ca: material.authority(), older: material.has_older(), leaf, published };
        match next(&found, now) {
            CertStep::Settled(until) | CertStep::Wait(until) => return Ok(Some(until)),
            CertStep::CreateCa => {
                self.write(secret, &material.with_new_authority(now)?).await?;
                tracing::info!(secret = self.name, "a new authority for the webhook's certificate");
                Failpoint::WebhookAfterSecret.pass();
            }
            CertStep::PublishBundle => {
                self.leadership.outlasts(WRITE_LIMIT)?;
                let bundle = material.bundle().unwrap_or_default();
                self.configuration.publish(bundle).await?;
                self.published = Some((bundle.to_owned(), self.clock.now()));
                tracing::info!(configuration = self.name, "the API server knows the webhook's authorities");
                Failpoint::WebhookAfterBundle.pass();
            }
            CertStep::IssueLeaf => {
                self.write(secret, &material.with_new_leaf(&self.names, now)?).await?;
                tracing::info!(secret = self.name, "a new certificate for the webhook");
            }
            CertStep::DropOlder => {
                self.write(secret, &material.without_older()).await?;
                tracing::info!(secret = self.name, "the former authority of the webhook's certificate is forgotten");
            }
        }
        Ok(None)
    }

    /// A process that did not publish the bundle itself counts from when it first saw it there.
    async fn published_since(&mut self, material: &Material, now: Timestamp) -> Result<Option<Timestamp>, kube::Error> {
        let Some(bundle) = material.bundle() else { return Ok(None) };
        if !self.configuration.has(bundle).await? {
            self.published = None;
            return Ok(None);
        }
        let known = self.published.take_if(|(known, _)| known == bundle);
        let (_, since) = self.published.insert(known.unwrap_or_else(|| (bundle.to_owned(), now)));
        Ok(Some(*since))
    }

    /// Names the version that was read: refused if anybody wrote in between.
    async fn write(&self, mut secret: Secret, material: &Material) -> Result<(), KeeperError> {
        self.leadership.outlasts(WRITE_LIMIT)?;
        let mut data = secret.data.take().unwrap_or_default();
        data.extend(material.data());
        secret.data = Some(data);
        self.secrets.replace(&self.name, &PostParams::default(), &secret).await?;
        Ok(())
    }
}
