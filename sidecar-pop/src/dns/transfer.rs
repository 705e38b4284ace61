//! A transfer that was asked for, and its messages while they are sent.

use std::fmt;
use std::sync::Arc;

use tapir_table::{Codes, Cursor, ReadError};

use super::render::{Condensed, Envelope, Incremental, Renderer, Steps, Window};
use super::tsig::Signer;
use super::zone::{Since, Zone};
use crate::metrics::TRANSFERS;
use crate::zone::Serial;

/// Changes that are condensed into one step, at most: 400 KiB. More of them go out step by step.
const MOST_CONDENSED: usize = 16_384;
/// QR and SERVFAIL.
const BUSY: u16 = 0x8002;

/// Answers that come in many messages.
pub trait Outgoing: Send {
    /// Fills the window with whole messages, each behind its length; false when nothing is left.
    fn fill(&mut self, window: &mut Window) -> Result<bool, ReadError>;
}

/// A transfer that was asked for.
pub struct Transfer<Z: Zone> {
    /// Id of the request.
    pub id: u16,
    /// Its question in wire form.
    pub question: Vec<u8>,
    /// What is sent: one version from beginning to end.
    pub zone: Arc<Z>,
    /// What changed, where that was asked for and is known, and how many changes that is.
    pub steps: Option<(Z::Steps, usize)>,
    /// Whether what changed was asked for.
    pub incremental: bool,
}

impl<Z: Zone> Transfer<Z> {
    /// For this request. Where nothing is held, or what is held is not known here or so old that the changes would be more than
    /// the zone, all of it is sent; `None` where nothing is to be sent.
    pub(super) fn of(id: u16, question: Vec<u8>, zone: &Arc<Z>, held: Option<Serial>) -> Option<Self> {
        let steps = match held.map(|serial| zone.since(serial)) {
            Some(Since::Current) => return None,
            Some(Since::Steps { steps, changes }) if changes <= zone.len() => {
                Some((steps, usize::try_from(changes).unwrap_or(usize::MAX)))
            }
            _ => None,
        };
        Some(Self { id, question, zone: Arc::clone(zone), steps, incremental: held.is_some() })
    }

    /// Whether the whole zone is sent.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.steps.is_none()
    }

    /// As label for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let [axfr, ixfr, ixfr_whole] = TRANSFERS;
        match (self.incremental, self.is_whole()) {
            (false, _) => axfr,
            (true, false) => ixfr,
            (true, true) => ixfr_whole,
        }
    }

    /// "Not now": SERVFAIL.
    #[must_use]
    pub fn busy(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(12 + self.question.len());
        for field in [self.id, BUSY, 1, 0, 0, 0] {
            message.extend(field.to_be_bytes());
        }
        message.extend(&self.question);
        message
    }

    /// Begins. Without a signer the messages are not signed.
    pub fn begin(self, signer: Option<Signer>) -> Result<Box<dyn Outgoing>, ReadError> {
        let apex = self.zone.apex();
        let envelope = Envelope {
            id: self.id,
            question: self.question,
            apex: apex.records(self.zone.serial()),
            ttl: apex.record_ttl,
            palette: self.zone.palette(),
        };
        let Some((steps, changes)) = self.steps else {
            return Ok(Box::new(Whole { renderer: Renderer::new(envelope, signer), cursor: self.zone.cursor() }));
        };
        if changes > MOST_CONDENSED {
            return Ok(Box::new(Incremental::new(envelope, steps, signer)));
        }
        Ok(match Condensed::of(steps, MOST_CONDENSED)? {
            Some(condensed) => Box::new(Incremental::new(envelope, condensed, signer)),
            // There were more changes than was said.
            None => Box::new(Whole { renderer: Renderer::new(envelope, signer), cursor: self.zone.cursor() }),
        })
    }
}

struct Whole<C> {
    renderer: Renderer<Option<Signer>>,
    cursor: C,
}

impl<C: Cursor<Value = Codes> + Send> Outgoing for Whole<C> {
    fn fill(&mut self, window: &mut Window) -> Result<bool, ReadError> {
        self.renderer.fill(&mut self.cursor, window)
    }
}

impl<T: Steps<Cursor: Send> + Send> Outgoing for Incremental<T, Option<Signer>> {
    fn fill(&mut self, window: &mut Window) -> Result<bool, ReadError> {
        Self::fill(self, window)
    }
}

impl<Z: Zone> fmt::Debug for Transfer<Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("serial", &self.zone.serial()).field("whole", &self.is_whole()).finish_non_exhaustive()
    }
}
