//! Several threads that verify, and one order.
//!
//! Verifying is most of what a message costs, so it is done on as many cores as there may be. What was first is told first all the same: a name that is
//! seen and taken back at the same moment is taken back.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use tapir_runtime::mqtt::Incoming;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws::{self, VerifyError};
use tapir_wire::observation::Message;
use tokio::sync::{mpsc, watch};

use super::{Observed, Reject, take};
use crate::metrics::Metrics;
use crate::setup::Setup;

/// Messages that were verified and wait for the engine.
const WAITING: usize = 4096;
/// Threads. With one, the queue before it would be lost some of when Core tells ten thousand names a second.
const THREADS: usize = 2;
/// Messages that one takes at a time, where so many wait: few, since the first of them waits for the last.
const AT_ONCE: usize = 8;

/// Settings of Core.
#[derive(Debug)]
pub enum Settings {
    /// A trusted key signed them.
    Signed(Vec<u8>),
    /// The message as it came, because the key that it may be signed with is not known, or not yet.
    Unproven(Bytes),
}

/// For whoever follows them.
pub type ToldSettings = mpsc::Sender<Settings>;

/// Verifies what comes, until nothing comes any more or nobody takes it.
///
/// # Errors
/// When there can be no threads.
pub fn spawn(
    incoming: mpsc::Receiver<Incoming>,
    keys: watch::Receiver<Option<Arc<TrustedKeys>>>,
    setup: watch::Receiver<Option<Arc<Setup>>>,
    metrics: Metrics,
    settings: Option<ToldSettings>,
) -> io::Result<mpsc::Receiver<Observed>> {
    let (tell, observed) = mpsc::channel(WAITING);
    metrics.queues.watch("verified", tell.downgrade());
    let line = Arc::new(Line::new(incoming));
    let verifier = Verifier { line, keys, setup, metrics, tell, settings };
    for number in 1..=THREADS {
        let verifier = verifier.clone();
        std::thread::Builder::new().name(format!("verifier-{number}")).spawn(move || verifier.run())?;
    }
    Ok(observed)
}

#[derive(Clone)]
struct Verifier {
    line: Arc<Line>,
    keys: watch::Receiver<Option<Arc<TrustedKeys>>>,
    setup: watch::Receiver<Option<Arc<Setup>>>,
    metrics: Metrics,
    tell: mpsc::Sender<Observed>,
    settings: Option<ToldSettings>,
}

/// What was taken.
enum Taken<'a> {
    Observed(Message, Vec<&'a str>),
    Settings(Settings),
}

impl Verifier {
    fn run(&self) {
        let mut messages = Vec::with_capacity(AT_ONCE);
        while let Some(turn) = self.line.take(&mut messages) {
            let (keys, setup) = (self.keys.borrow().clone(), self.setup.borrow().clone());
            let sources = setup.as_ref().map_or(&[][..], |setup| &setup.rules.cores);
            let settings_from = setup.as_ref().and_then(|setup| setup.global_config.as_ref()).map(|from| from.topic.as_str());
            let take = |message: Incoming| {
                if settings_from == Some(message.topic.as_str()) {
                    let verified = keys.as_deref().map(|keys| jws::verify(&message.payload, keys));
                    return match verified {
                        Some(Ok(signed)) => Ok(Taken::Settings(Settings::Signed(signed))),
                        // Core says it once: keys may come that it is held against then.
                        None | Some(Err(VerifyError::UnknownKey)) => Ok(Taken::Settings(Settings::Unproven(message.payload))),
                        Some(Err(error)) => Err(error.into()),
                    };
                }
                let (message, sources) = take(&message, keys.as_deref(), sources, Timestamp::now())?;
                Ok(Taken::Observed(message, sources))
            };
            let timed = |message| {
                let begun = Instant::now();
                let taken = take(message);
                self.metrics.verification.took(begun.elapsed());
                taken
            };
            let taken: Vec<_> = messages.drain(..).map(timed).collect();
            turn.wait();
            for taken in taken {
                if !self.told(taken) {
                    return;
                }
            }
        }
    }

    /// False when nobody takes it any more.
    fn told(&self, taken: Result<Taken<'_>, Reject>) -> bool {
        match taken {
            Ok(Taken::Settings(settings)) => {
                match &settings {
                    Settings::Signed(_) => self.metrics.message("settings"),
                    Settings::Unproven(_) => {
                        let known = self.keys.borrow().is_some();
                        let reject = if known { Reject::Signature(VerifyError::UnknownKey) } else { Reject::NoKeys };
                        self.metrics.message(reject.label());
                        tracing::warn!(error = %reject, "settings of Core wait for the key that they are signed with");
                    }
                }
                // Where some wait already, nobody reads them any more.
                _ = self.settings.as_ref().map(|tell| tell.try_send(settings));
                true
            }
            Ok(Taken::Observed(message, sources)) => {
                self.metrics.message("accepted");
                let observed = |source: &str| Observed { source: source.into(), message: message.clone() };
                sources.into_iter().all(|source| self.tell.blocking_send(observed(source)).is_ok())
            }
            Err(reject) => {
                self.metrics.message(reject.label());
                if reject != Reject::NotWanted {
                    tracing::warn!(reason = reject.label(), error = %reject, "message of Core refused");
                }
                true
            }
        }
    }
}

/// Where verifiers take messages, and which of them tells next.
struct Line {
    waiting: Mutex<(mpsc::Receiver<Incoming>, u64)>,
    turn: Mutex<u64>,
    done: Condvar,
}

/// The place of some messages among all. Whoever has it, and drops it, lets the next one tell, also when it panics.
struct Turn<'a> {
    line: &'a Line,
    number: u64,
}

impl Line {
    const fn new(incoming: mpsc::Receiver<Incoming>) -> Self {
        Self { waiting: Mutex::new((incoming, 0)), turn: Mutex::new(0), done: Condvar::new() }
    }

    /// The next messages, as soon as there is one; nothing when none comes any more.
    fn take(&self, messages: &mut Vec<Incoming>) -> Option<Turn<'_>> {
        let mut waiting = lock(&self.waiting);
        if waiting.0.blocking_recv_many(messages, AT_ONCE) == 0 {
            return None;
        }
        let number = waiting.1;
        waiting.1 += 1;
        Some(Turn { line: self, number })
    }
}

impl Turn<'_> {
    /// Until everything before was told.
    fn wait(&self) {
        let turn = lock(&self.line.turn);
        drop(self.line.done.wait_while(turn, |turn| *turn != self.number).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.wait();
        *lock(&self.line.turn) = self.number + 1;
        self.line.done.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tapir_wire::jwk::DataKey;
    use tapir_wire::node_name::NodeName;

    use super::*;
    use crate::setup::NoFiles;
    use crate::status::Telemetry;

    /// Long messages between short ones: who has the short one is done first.
    #[tokio::test]
    async fn what_came_first_is_told_first_whoever_verifies_it() {
        let key = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
        let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
        let (setup, _) = Setup::parse("format: 2\nsources: [{name: core, list: Doubt, core: {}}]\n", &mut NoFiles).unwrap();
        let (send, incoming) = mpsc::channel(4096);
        let (keys, setup) = (watch::channel(Some(Arc::new(keys))).1, watch::channel(Some(Arc::new(setup))).1);
        let metrics = Telemetry::new(None, None).metrics.clone();
        let count = 400_u32;
        for number in 0..count {
            let added: Vec<_> = (0..if number % AT_ONCE as u32 == 0 { 300 } else { 1 })
                .map(|_| json!({"name": format!("name-{number}"), "time_added": "2026-11-21T00:00:00Z", "ttl": 60}))
                .collect();
            let message = json!({
                "src_name": "dns-tapir", "msg_type": "observation", "list_type": "doubtlist", "added": added,
                "timestamp": "2026-11-21T00:00:00Z",
            });
            let payload = jws::sign_flattened(message.to_string().as_bytes(), &key).into();
            send.send(Incoming { topic: "t".to_owned(), payload }).await.unwrap();
        }
        drop(send);
        let mut observed = spawn(incoming, keys, setup, metrics, None).unwrap();
        for number in 0..count {
            let message = observed.recv().await.unwrap().message;
            assert_eq!(message.added[0].name.as_str(), format!("name-{number}."));
        }
        assert!(observed.recv().await.is_none(), "they end with what comes");
    }
}
