//! The API server's side: which authorities it trusts when it asks the webhook.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

/// The one webhook of the chart's configuration.
const WEBHOOK: &str = "pods.dnstapir.se";
/// Owns the bundle and nothing else, so that an upgrade of the release leaves it.
const MANAGER: &str = "tapir-operator-webhook";

/// The chart's configuration of this name.
#[derive(Clone, Debug)]
pub struct Configuration {
    api: Api<MutatingWebhookConfiguration>,
    name: String,
}

impl Configuration {
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self { api: Api::all(client), name: name.to_owned() }
    }

    /// Whether the API server has exactly this bundle. An absent configuration has none.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn has(&self, bundle: &str) -> Result<bool, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let webhooks = found.and_then(|configuration| configuration.webhooks).unwrap_or_default();
        let ours = webhooks.into_iter().find(|webhook| webhook.name == WEBHOOK);
        Ok(ours.and_then(|webhook| webhook.client_config.ca_bundle).is_some_and(|found| found.0 == bundle.as_bytes()))
    }

    /// Gives the API server this bundle.
    ///
    /// # Errors
    /// When it refuses, or when the chart's configuration is not there: this does not create one.
    pub async fn publish(&self, bundle: &str) -> Result<(), kube::Error> {
        let patch = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [{"name": WEBHOOK, "clientConfig": {"caBundle": ByteString(bundle.as_bytes().to_vec())}}],
        });
        self.api.patch(&self.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await.map(drop)
    }
}
