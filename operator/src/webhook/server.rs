//! HTTPS for the API server: bounded connections, bounded bodies, and never a word that refuses a Pod.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kube::Client;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::review::{Outcome, Review, answer};
use crate::telemetry::metrics::Metrics;

/// Twice what etcd takes for one object.
const LARGEST_BODY: usize = 3 * 1024 * 1024;
/// Of all API servers together, and whoever else finds the port; more wait in the kernel.
const MOST_CONNECTIONS: usize = 256;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// For one request whole. The API server has gone after two seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Longer than API servers keep an idle connection (90 s), so that it is they who close it, and no request ever meets a closed one.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// How long a replica that is asked to stop goes on answering: until no API server is sent here any more.
const LINGER: Duration = Duration::from_secs(5);
/// For requests that are under way after that.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// After an accept that failed for want of something, such as file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The certificate that is served. Connections that begin after a change get the new one; nothing else notices.
#[derive(Debug, Default)]
pub struct Presented(ArcSwapOption<CertifiedKey>);

impl Presented {
    /// From now on this one.
    pub fn present(&self, key: Arc<CertifiedKey>) {
        self.0.store(Some(key));
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// What requests need.
#[derive(Clone)]
pub struct Reviewer {
    pub client: Client,
    pub metrics: Metrics,
    /// Once this replica is to stop, each answer asks the API server to take another connection.
    pub stop: CancellationToken,
}

impl fmt::Debug for Reviewer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

/// TLS with what is presented.
///
/// # Errors
/// When no version of TLS is to be had.
pub fn tls(presented: Arc<Presented>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(presented);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the reviewer's `stop`, and a little longer.
pub async fn serve(listener: TcpListener, acceptor: TlsAcceptor, reviewer: Reviewer) {
    let (slots, connections, end) = (Arc::new(Semaphore::new(MOST_CONNECTIONS)), TaskTracker::new(), CancellationToken::new());
    let app = router(reviewer.clone());
    let accepting = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (acceptor, app, end) = (acceptor.clone(), app.clone(), end.clone());
                    connections.spawn(async move {
                        connection(stream, &acceptor, app, end).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept a connection to the webhook");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    let stopped = async {
        reviewer.stop.cancelled().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        () = accepting => {}
        () = stopped => {}
    }
    end.cancel();
    connections.close();
    if timeout(LAST_ANSWERS, connections.wait()).await.is_err() {
        tracing::warn!("some requests to the webhook were not answered at the end");
    }
}

async fn connection(stream: TcpStream, acceptor: &TlsAcceptor, app: Router, end: CancellationToken) {
    let stream = match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(error = %error, "a connection to the webhook ended before it began"),
        Err(_) => return tracing::debug!("a connection to the webhook took too long to begin"),
    };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE_LIMIT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %error, "a connection to the webhook broke");
    }
}

fn router(reviewer: Reviewer) -> Router {
    Router::new().route("/mutate", post(limited)).layer(DefaultBodyLimit::max(LARGEST_BODY)).with_state(reviewer)
}

/// The body is read within the limit too.
async fn limited(State(reviewer): State<Reviewer>, request: axum::extract::Request) -> Response {
    let begin = Instant::now();
    let (metrics, stop) = (reviewer.metrics.clone(), reviewer.stop.clone());
    let _under_way = metrics.reviewing();
    let (mut response, outcome) = match timeout(REQUEST_LIMIT, review(&reviewer, request)).await {
        Ok(answered) => answered,
        Err(_) => (StatusCode::REQUEST_TIMEOUT.into_response(), Outcome::Failed("too_slow")),
    };
    let (verdict, reason) = match outcome {
        Outcome::Patched => ("patched", ""),
        Outcome::Skipped(condition) => ("skipped", condition),
        Outcome::Failed(reason) => ("failed", reason),
    };
    metrics.reviewed(verdict, reason, response.status().as_u16(), begin.elapsed());
    if stop.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}

async fn review(reviewer: &Reviewer, request: axum::extract::Request) -> (Response, Outcome) {
    use axum::RequestExt as _;

    let body: Result<Bytes, BytesRejection> = request.extract().await;
    let body = match body {
        Ok(body) => body,
        // Without the review its uid is not known, so there is no answer that admits. The API server is told to ignore that.
        Err(rejection) => return (rejection.into_response(), Outcome::Failed("body_not_read")),
    };
    match serde_json::from_slice::<Review>(&body) {
        Ok(review) => {
            let (answer, outcome) = answer(&reviewer.client, &review).await;
            (Json(answer).into_response(), outcome)
        }
        Err(_) => (
            (StatusCode::BAD_REQUEST, "this is no AdmissionReview of admission.k8s.io/v1\n").into_response(),
            Outcome::Failed("no_review"),
        ),
    }
}
