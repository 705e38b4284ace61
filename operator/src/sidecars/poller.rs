//! Asks the sidecars, bounded in number, time and size, and spread in time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tapir_wire::status::SidecarStatus;
use tokio::sync::broadcast;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::{Board, EdgeKey, Heard, Target};
use crate::telemetry::metrics::Metrics;

/// Time limit of one question.
const LIMIT: Duration = Duration::from_secs(2);
/// A status with the 32 sources that a policy may have is below 8 KiB.
const BODY_LIMIT: usize = 64 * 1024;
/// Questions under way at the same time.
const CONCURRENCY: usize = 8;
/// Between two rounds for an edge where all is well.
const CALM: Duration = Duration::from_secs(15);
/// The same while something is awaited: grows to [`CALM`] by a half each round.
const EAGER: Duration = Duration::from_secs(1);
/// How often the board is looked at.
const TICK: Duration = Duration::from_millis(500);

/// How a sidecar is asked.
#[derive(Clone, Debug)]
pub struct Question {
    client: reqwest::Client,
}

/// Asks all sidecars, round after round.
#[derive(Debug)]
pub struct Poller {
    pub board: Board,
    pub question: Question,
    pub metrics: Metrics,
    /// Edges of which something new was heard.
    pub news: broadcast::Sender<EdgeKey>,
}

impl Question {
    /// Prepares the HTTP client.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        // No TLS is spoken to sidecars; an empty set of anchors saves reading the system's.
        let client = builder.tls_certs_only([]).timeout(LIMIT).connect_timeout(LIMIT).pool_max_idle_per_host(0).build()?;
        Ok(Self { client })
    }

    /// Whether a sidecar answers as one.
    pub async fn is_answered(&self, address: SocketAddr) -> bool {
        self.ask(address).await.is_ok()
    }

    async fn ask(&self, address: SocketAddr) -> Result<Heard, &'static str> {
        let mut answer = self.client.get(format!("http://{address}/status")).send().await.map_err(|_| "unreachable")?;
        if !answer.status().is_success() {
            return Err("refused");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| "unreachable")? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err("too_large");
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice::<SidecarStatus>(&body).map(Heard::from).map_err(|_| "malformed")
    }
}

impl Poller {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut eagerness = HashMap::<EdgeKey, Duration>::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(TICK) => {}
            }
            for (edge, answers) in self.round(self.board.due(Instant::now())).await {
                let taken = self.board.took(&edge, answers);
                let pause = if taken.as_hoped {
                    eagerness.remove(&edge);
                    CALM
                } else if taken.changed {
                    *eagerness.entry(edge.clone()).insert_entry(EAGER).get()
                } else {
                    let pause = eagerness.entry(edge.clone()).or_insert(EAGER);
                    *pause = pause.mul_f64(1.5).min(CALM);
                    *pause
                };
                self.board.postpone(&edge, Instant::now() + pause.mul_f64(1.0 - rand::random::<f64>() / 4.0));
                if taken.changed {
                    // Nobody listens while the controllers start: they look at the board themselves then.
                    let _ = self.news.send(edge);
                }
            }
            let board = &self.board;
            eagerness.retain(|edge, _| board.known(edge));
        }
    }

    /// Asks the sidecars of all edges that are due, side by side, so that the silent ones of one edge do not delay the others.
    async fn round(&self, due: Vec<(EdgeKey, Vec<Target>)>) -> HashMap<EdgeKey, Vec<(Target, Option<Heard>)>> {
        let asked = due.into_iter().flat_map(|(edge, targets)| targets.into_iter().map(move |target| (edge.clone(), target)));
        let asked = asked.map(async |(edge, target)| {
            let answer = self.question.ask(SocketAddr::new(target.address, target.component.port())).await;
            let outcome = answer.as_ref().err().copied().unwrap_or("success");
            self.metrics.polled(target.component.into(), outcome);
            (edge, target, answer.ok())
        });
        let answers = stream::iter(asked).buffer_unordered(CONCURRENCY);
        answers
            .fold(HashMap::<_, Vec<_>>::new(), async |mut heard, (edge, target, answer)| {
                heard.entry(edge).or_default().push((target, answer));
                heard
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn ask(template: ResponseTemplate) -> Result<Heard, &'static str> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = MockServer::start().await;
        Mock::given(path("/status")).respond_with(template).mount(&server).await;
        Question::new().unwrap().ask(*server.address()).await
    }

    fn status() -> serde_json::Value {
        serde_json::json!({
            "format": 1, "component": "edm", "version": "0.1.0", "commit": "abc", "startedAt": "2026-11-21T00:00:00Z",
            "config": {"revision": "r1"}, "core": {"connected": true}, "ofALaterVersion": {}
        })
    }

    #[tokio::test]
    async fn an_answer_is_read_whatever_a_later_version_adds() {
        let heard = ask(ResponseTemplate::new(200).set_body_json(status())).await.unwrap();
        assert_eq!((heard.revision.as_str(), heard.connected), ("r1", true));
    }

    #[tokio::test]
    async fn strange_answers_are_told_apart() {
        assert_eq!(ask(ResponseTemplate::new(200).set_body_string("{}")).await, Err("malformed"));
        assert_eq!(ask(ResponseTemplate::new(500)).await, Err("refused"));
        assert_eq!(ask(ResponseTemplate::new(200).set_body_bytes(vec![b' '; BODY_LIMIT + 1])).await, Err("too_large"));
        assert_eq!(ask(ResponseTemplate::new(200).set_delay(LIMIT * 2)).await, Err("unreachable"));
    }
}
