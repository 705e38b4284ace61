//! `/livez`, `/readyz`, `/metrics`.
//!
//! Liveness says only that this process serves: nothing that it waits for gets better by a restart. Readiness names
//! what is still waited for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::Metrics;

/// What must have happened before this replica counts as ready; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, bool>>>);

impl Readiness {
    /// Something to wait for.
    pub fn expect(&self, what: &str) {
        self.lock().entry(what.to_owned()).or_insert(false);
    }

    /// It has come.
    pub fn reached(&self, what: &str) {
        self.lock().insert(what.to_owned(), true);
    }

    /// What is missing still.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.lock().iter().filter(|(_, reached)| !**reached).map(|(what, _)| what.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds the address; on a host without IPv6 `[::]` becomes `0.0.0.0`.
///
/// # Errors
/// When the address cannot be had.
pub async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if listen.is_ipv6() && listen.ip().is_unspecified() => {
            tracing::warn!(error = %error, "cannot listen on IPv6, taking IPv4");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.port())).await
        }
        other => other,
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(readiness, metrics)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", missing.join(", ")))
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: Router, path: &str) -> (StatusCode, String) {
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 65536).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let readiness = Readiness::default();
        readiness.expect("edges");
        readiness.expect("lease");
        readiness.reached("lease");
        let router = router(readiness.clone(), Metrics::default());
        assert_eq!(get(router.clone(), "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "waiting for: edges\n".to_owned()));
        assert_eq!(get(router.clone(), "/livez").await.0, StatusCode::OK);
        readiness.reached("edges");
        assert_eq!(get(router, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served() {
        let (status, body) = get(router(Readiness::default(), Metrics::default()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("tapir_operator_settled_edges"), "{body}");
    }
}
