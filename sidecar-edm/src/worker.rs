//! The worker: frames in, events into the queue. The one owner of the seen-name store.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::input::{Frames, QueuedFrame};
use crate::metrics::{Metrics, ReasonLabels};
use crate::minimise::{self, Reason, Verdict, View};
use crate::queue::{EventQueue, Pushed, Queued};
use crate::reload::InForce;
use crate::seen::SeenNames;

/// The worker's state.
#[derive(Debug)]
pub struct Worker {
    queue: Arc<EventQueue>,
    metrics: Arc<Metrics>,
    in_force: watch::Receiver<Arc<InForce>>,
    view: View,
    seen: SeenNames,
}

impl Worker {
    /// A worker with an empty store.
    #[must_use]
    pub fn new(queue: Arc<EventQueue>, metrics: Arc<Metrics>, in_force: watch::Receiver<Arc<InForce>>) -> Self {
        let mut worker = Self { queue, metrics, in_force, view: View::default(), seen: SeenNames::new(1) };
        worker.refresh();
        worker
    }

    /// Works until all readers are gone.
    pub async fn run(mut self, mut frames: Frames) {
        while let Some(frame) = frames.recv().await {
            if self.in_force.has_changed().unwrap_or(false) {
                self.refresh();
            }
            let QueuedFrame { payload, .. } = frame;
            self.process(payload);
        }
    }

    fn refresh(&mut self) {
        let in_force = Arc::clone(&self.in_force.borrow_and_update());
        self.view = in_force.view();
        if let Some(config) = &in_force.config {
            self.seen.set_capacity(config.qname_seen_entries);
        }
    }

    fn process(&mut self, payload: Bytes) {
        // Names whose events went when the queue was made smaller or closed: nobody was told of them.
        for key in self.queue.take_forgotten() {
            self.seen.unmark(&key);
        }
        match minimise::judge(payload, &self.view, &self.seen) {
            Verdict::NoEvent(reason) => self.count(reason),
            Verdict::Withheld { key } => {
                self.count(Reason::ClientAddress);
                self.mark(&key);
            }
            Verdict::Event { event, key } => self.enqueue(Queued { event, key }),
        }
    }

    /// A name is marked only when its event waits in the queue, and no longer when the event is lost from there.
    fn enqueue(&mut self, queued: Queued) {
        let key = queued.key.clone();
        let pushed = self.queue.push(queued);
        if pushed == Pushed::Closed {
            return self.count(Reason::NotSending);
        }
        self.metrics.events.inc();
        self.mark(&key);
        if let Pushed::Displaced(lost) = pushed {
            self.seen.unmark(&lost.key);
            if self.metrics.events_displaced.inc() == 0 {
                tracing::error!("event queue is full, the oldest event was dropped; further ones are only counted");
            }
        }
        self.metrics.seen_names.set(i64::try_from(self.seen.len()).unwrap_or(i64::MAX));
    }

    fn mark(&mut self, key: &str) {
        let forgotten = self.seen.mark(key);
        self.metrics.seen_forgotten.inc_by(forgotten as u64);
        self.metrics.seen_names.set(i64::try_from(self.seen.len()).unwrap_or(i64::MAX));
    }

    fn count(&self, reason: Reason) {
        self.metrics.frames_without_event.get_or_create(&ReasonLabels { reason }).inc();
    }
}
