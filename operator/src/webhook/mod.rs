//! Injection by webhook, for API servers that do not serve `MutatingAdmissionPolicy`. Every replica answers; the leader keeps the
//! certificate.

mod certificate;
mod configuration;
mod keeper;
mod review;
mod server;

use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tapir_plan::clock::System;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::certificate::{CertificateError, Material};
pub use self::configuration::Configuration;
pub use self::keeper::{Keeper, KeeperError};
pub use self::server::{Presented, Reviewer, serve, tls};
use crate::http::{self, Readiness};
use crate::leader::Leadership;
use crate::settings::{Injection, Issuer, Settings, Webhook};
use crate::telemetry::metrics::Metrics;

const CERTIFICATE_SEEN: &str = "webhook certificate";
/// Of a leader that makes it.
const CERTIFICATE_MADE: &str = "webhook certificate of its own making";

/// The server, once it runs; nothing where the API server injects by itself.
#[derive(Debug, Default)]
pub struct Answering(Option<JoinHandle<()>>);

impl Answering {
    /// Waits until the last answer is given, which is some seconds after the operator was asked to stop.
    pub async fn ended(self) {
        if let Some(server) = self.0
            && let Err(error) = server.await
        {
            tracing::error!(error = %error, "the webhook ended");
        }
    }
}

/// Answers the API server from now on, if the settings say so, until `stop` and a little longer.
///
/// # Errors
/// When the port cannot be had.
pub async fn answer(
    client: &Client,
    settings: &Settings,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> anyhow::Result<Answering> {
    let Injection::Webhook(webhook) = &settings.injection else { return Ok(Answering::default()) };
    readiness.expect(CERTIFICATE_SEEN);
    let listener =
        http::bind(webhook.listen).await.with_context(|| format!("listening on {} for the webhook", webhook.listen))?;
    let presented = Arc::new(Presented::default());
    let reviewer = Reviewer { client: client.clone(), metrics: metrics.clone(), stop: stop.clone() };
    let secrets = Api::namespaced(client.clone(), &settings.pod_namespace);
    let (name, readiness) = (webhook.name.clone(), readiness.clone());
    let issuer = webhook.issuer;
    let tls = server::tls(Arc::clone(&presented)).context("preparing TLS for the webhook")?;
    Ok(Answering(Some(tokio::spawn(async move {
        tokio::select! {
            () = serve(listener, tls, reviewer) => {}
            () = follow(secrets, &name, issuer, &presented, &readiness) => {}
        }
    }))))
}

/// Keeps the webhook's certificate, as leader, until `stop`; nothing where it is somebody else's.
pub async fn keep(client: &Client, settings: &Settings, leadership: Leadership, readiness: Readiness, stop: CancellationToken) {
    if let Injection::Webhook(Webhook { name, names, issuer: Issuer::Own, .. }) = &settings.injection {
        readiness.expect(CERTIFICATE_MADE);
        let made = || readiness.reached(CERTIFICATE_MADE);
        Keeper::new(client, &settings.pod_namespace, name, names, leadership, Box::new(System)).keep(made, stop).await;
    }
}

/// Presents what the Secret holds, for ever. What is of no use changes nothing: the certificate before it serves on.
pub async fn follow(secrets: Api<Secret>, name: &str, issuer: Issuer, presented: &Presented, readiness: &Readiness) {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(secrets, only).default_backoff().applied_objects());
    let mut failing = false;
    while let Some(event) = events.next().await {
        if event.is_ok() && std::mem::take(&mut failing) {
            tracing::info!(secret = name, "the webhook's certificate can be watched again");
        }
        match event.map(|secret| Material::of(&secret).served()) {
            Ok(Ok(key)) => {
                presented.present(key);
                readiness.reached(CERTIFICATE_SEEN);
            }
            Ok(Err(CertificateError::Missing(_))) => {
                tracing::debug!(secret = name, "no certificate for the webhook yet");
                // Nobody has one before the leader makes it. A leader of a release that had no webhook never does, and goes only once
                // this replica counts as ready.
                if issuer == Issuer::Own {
                    readiness.reached(CERTIFICATE_SEEN);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, secret = name, "the webhook goes on with the certificate that it had")
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(error = %error, secret = name, "cannot watch the webhook's certificate, trying on");
                }
            }
        }
    }
}
