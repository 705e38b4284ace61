//! Asks the sidecars, bounded in number, time and size, and spread in time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use tapir_wire::status::{EventStatus, SidecarStatus};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Due, EdgeKey, Heard, Pauses, Target};
use crate::cache::Cache;
use crate::telemetry::metrics::Metrics;

/// Time limit of one question.
const LIMIT: Duration = Duration::from_secs(2);
/// A status with the 32 sources that a policy may have is below 8 KiB.
const BODY_LIMIT: usize = 64 * 1024;
/// Questions under way at the same time.
const CONCURRENCY: usize = 32;
/// Shortest pause between two rounds for an edge where all is well.
const CALM: Duration = Duration::from_secs(15);
/// Questions a second that all calm edges together may cost: the more sidecars, the longer the pause between two rounds.
const CALM_PER_SECOND: u32 = 10;
/// First pause while something is awaited.
const EAGER: Duration = Duration::from_secs(1);
/// Questions a second about what is awaited. More have to wait, the edges that wait longest first. Ten thousand sidecars are known after a
/// start in 20 s; a question costs about 0.4 ms of processor time.
const EAGER_PER_SECOND: u32 = 500;
/// How often the board is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How a sidecar is asked.
#[derive(Clone, Debug)]
pub struct Question {
    client: reqwest::Client,
}

/// What a sidecar says of itself, and what happened to it.
#[derive(Debug)]
struct Answer {
    heard: Heard,
    events: Vec<EventStatus>,
}

/// Asks all sidecars, round after round.
#[derive(Debug)]
pub struct Poller {
    pub board: Board,
    pub question: Question,
    pub metrics: Metrics,
    /// Told of edges of which something new was heard.
    pub cache: Cache,
}

impl Question {
    /// Prepares the HTTP client.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let builder = builder.user_agent(concat!("tapir-operator/", env!("CARGO_PKG_VERSION")));
        // No TLS is spoken to sidecars; an empty set of anchors saves reading the system's.
        let client = builder.tls_certs_only([]).timeout(LIMIT).connect_timeout(LIMIT).pool_max_idle_per_host(0).build()?;
        Ok(Self { client })
    }

    /// Whether a sidecar answers as one.
    pub async fn is_answered(&self, address: SocketAddr) -> bool {
        self.ask(address).await.is_ok()
    }

    async fn ask(&self, address: SocketAddr) -> Result<Answer, &'static str> {
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
        let mut status: SidecarStatus = serde_json::from_slice(&body).map_err(|_| "malformed")?;
        let (of_edm, of_pop) =
            (status.edm.as_mut().map(|edm| &mut edm.incidents), status.pop.as_mut().map(|pop| &mut pop.events));
        let events = of_edm.or(of_pop).map(std::mem::take).unwrap_or_default();
        Ok(Answer { heard: status.into(), events })
    }
}

impl Poller {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        // What happened before was told by whoever was here then.
        let since = Timestamp::now();
        let (mut eager, mut calm) = (Budget::new(EAGER_PER_SECOND), Budget::new(2 * CALM_PER_SECOND));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(TICK) => {}
            }
            let now = Instant::now();
            eager.refill(now);
            calm.refill(now);
            let due = self.board.due(now).into_iter();
            let due: Vec<Due> =
                due.filter(|due| if due.eager { &mut eager } else { &mut calm }.take(due.targets.len())).collect();
            let pauses = pauses(self.board.targets());
            for (edge, answers) in self.round(due).await {
                let mut happened = false;
                let answers = answers.into_iter().map(|(target, answer)| {
                    let (heard, events) = answer.map(|Answer { heard, events }| (heard, events)).unzip();
                    happened |= self.board.happened(&edge, &target, &events.unwrap_or_default(), since);
                    (target, heard)
                });
                let taken = self.board.took(&edge, answers.collect());
                self.board.postpone(&edge, taken, pauses, Instant::now());
                if taken.changed || happened {
                    self.cache.heard(&edge);
                }
            }
        }
    }

    /// Asks the sidecars of all edges that are due, side by side, so that the silent ones of one edge do not delay the others.
    async fn round(&self, due: Vec<Due>) -> HashMap<EdgeKey, Vec<(Target, Option<Answer>)>> {
        let asked = due.into_iter().flat_map(|due| due.targets.into_iter().map(move |target| (due.edge.clone(), target)));
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

/// With more sidecars a calm one is asked less often, so that asking costs the same.
fn pauses(targets: usize) -> Pauses {
    let seconds = u32::try_from(targets).unwrap_or(u32::MAX) / CALM_PER_SECOND;
    Pauses { eager: EAGER, calm: CALM.max(Duration::from_secs(seconds.into())) }
}

/// Questions that may be asked now: so many a second, at most a second's worth at once.
#[derive(Debug)]
struct Budget {
    per_second: f64,
    left: f64,
    filled: Option<Instant>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), left: per_second.into(), filled: None }
    }

    fn refill(&mut self, now: Instant) {
        let passed = self.filled.map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        self.left = (self.left + passed.as_secs_f64() * self.per_second).min(self.per_second);
        self.filled = Some(now);
    }

    /// Whether an edge with so many sidecars may be asked. One with more of them than there ever are questions goes into debt.
    fn take(&mut self, questions: usize) -> bool {
        let allowed = self.left > 0.0;
        if allowed {
            self.left -= f64::from(u32::try_from(questions).unwrap_or(u32::MAX));
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn ask(template: ResponseTemplate) -> Result<Answer, &'static str> {
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
        let Answer { heard, events } = ask(ResponseTemplate::new(200).set_body_json(status())).await.unwrap();
        assert_eq!((heard.revision.as_str(), heard.connected, events.len()), ("r1", true, 0));
        let mut pop = status();
        pop["pop"] = serde_json::json!({"zone": "dnstapir.", "serial": 1, "records": 0, "sources": [], "events": [
            {"id": "e1", "time": "2026-11-21T00:00:00Z", "component": "rpz", "message": "no room"}
        ]});
        assert_eq!(ask(ResponseTemplate::new(200).set_body_json(pop)).await.unwrap().events[0].id, "e1");
        let mut edm = status();
        edm["edm"] = serde_json::json!({"connections": 0, "frames": 0, "eventsSent": 0, "eventsQueued": 0, "eventsDropped": 0, "incidents": [
            {"id": "e2", "time": "2026-11-21T00:00:00Z", "component": "edm-lists", "message": "no list"}
        ]});
        assert_eq!(ask(ResponseTemplate::new(200).set_body_json(edm)).await.unwrap().events[0].id, "e2");
    }

    #[test]
    fn ten_thousand_sidecars_cost_no_more_than_a_few() {
        assert_eq!(pauses(10).calm, CALM);
        assert_eq!(pauses(10_000).calm, Duration::from_secs(1000));
        let (mut budget, begin) = (Budget::new(EAGER_PER_SECOND), Instant::now());
        let mut asked = 0;
        for tick in 0..50 {
            budget.refill(begin + TICK * tick);
            while budget.take(10) {
                asked += 10;
            }
        }
        let a_second = EAGER_PER_SECOND as usize;
        assert!((10 * a_second..=11 * a_second + 10).contains(&asked), "{asked} in ten seconds");
        let mut large = Budget::new(EAGER_PER_SECOND);
        assert!(large.take(1000) && !large.take(1), "nobody is too large to be asked");
    }

    #[tokio::test]
    async fn strange_answers_are_told_apart() {
        let failed = async |template| ask(template).await.unwrap_err();
        assert_eq!(failed(ResponseTemplate::new(200).set_body_string("{}")).await, "malformed");
        assert_eq!(failed(ResponseTemplate::new(500)).await, "refused");
        assert_eq!(failed(ResponseTemplate::new(200).set_body_bytes(vec![b' '; BODY_LIMIT + 1])).await, "too_large");
        assert_eq!(failed(ResponseTemplate::new(200).set_delay(LIMIT * 2)).await, "unreachable");
    }
}
