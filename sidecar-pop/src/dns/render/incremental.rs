//! Changes as the messages of an incremental transfer (RFC 1995 section 4).

use std::sync::Arc;

use tapir_table::{Broken, Cursor, Palette, ReadError};

use super::changes::{Step, Steps};
use super::names::Names;
use super::{Envelope, LIMIT, Message, Sign, Tails, Unsigned, Window};

/// Octets of the numbers at the end of a SOA record; the serial is the first.
const SOA_NUMBERS: usize = 20;

/// Which half of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Removed,
    Added,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The SOA of the version that all leads to.
    Opening,
    /// The next step is to be found.
    Between,
    /// The SOA that a half begins with.
    Soa(Half),
    /// Names of a half.
    Next(Half),
    /// The name that the cursor stands on did not fit any more.
    Pending(Half),
    /// The last SOA.
    Closing,
    Done,
}

/// Renders one incremental transfer.
#[derive(Debug)]
pub struct Incremental<T: Steps, S = Unsigned> {
    envelope: Envelope,
    tails: Tails,
    names: Names,
    stage: Stage,
    sign: S,
    steps: T,
    step: Step,
    /// That of the step, or of the zone.
    palette: Arc<Palette>,
    cursor: Option<T::Cursor>,
}

impl<T: Steps, S: Sign> Incremental<T, S> {
    /// Begins. The first record of the envelope's apex is the SOA of the version that the steps lead to; the others are not told.
    pub fn new(envelope: Envelope, steps: T, sign: S) -> Self {
        let tails = Tails::new(envelope.ttl);
        let step = Step { from: 0, to: 0 };
        let palette = Arc::clone(&envelope.palette);
        Self { envelope, tails, names: Names::new(), stage: Stage::Opening, sign, steps, step, palette, cursor: None }
    }

    /// Fills the window with as many whole messages, each behind its length, as it has room for; false when nothing is left.
    pub fn fill(&mut self, window: &mut Window) -> Result<bool, ReadError> {
        window.clear();
        while self.stage != Stage::Done {
            let limit = LIMIT - self.sign.room();
            let Some(mut message) = window.begin(self.envelope.id, &self.envelope.question, limit) else { return Ok(true) };
            self.names.restart();
            self.render(&mut message)?;
            let length = message.finish();
            window.end(length, |octets, length| self.sign.sign(octets, length));
        }
        Ok(!window.is_empty())
    }

    /// Fills one message.
    fn render(&mut self, message: &mut Message<'_>) -> Result<(), ReadError> {
        loop {
            self.stage = match self.stage {
                Stage::Opening => match self.soa(message, None) {
                    true => Stage::Between,
                    false => return Ok(()),
                },
                Stage::Between => match self.steps.advance()? {
                    Some(step) => {
                        self.step = step;
                        self.palette = self.steps.palette().unwrap_or_else(|| Arc::clone(&self.envelope.palette));
                        Stage::Soa(Half::Removed)
                    }
                    None => Stage::Closing,
                },
                Stage::Soa(half) => {
                    let serial = if half == Half::Removed { self.step.from } else { self.step.to };
                    if !self.soa(message, Some(serial)) {
                        return Ok(());
                    }
                    self.cursor = Some(self.steps.changes()?);
                    Stage::Next(half)
                }
                Stage::Next(half) => match self.cursor.as_mut().map(Cursor::advance).transpose()? {
                    Some(true) if self.node(message, half)? => Stage::Next(half),
                    Some(true) => {
                        self.stage = Stage::Pending(half);
                        return Ok(());
                    }
                    _ if half == Half::Removed => Stage::Soa(Half::Added),
                    _ => Stage::Between,
                },
                Stage::Pending(half) => match self.node(message, half)? {
                    true => Stage::Next(half),
                    // An empty message is larger than the records of any name.
                    false => return Err(Broken.into()),
                },
                Stage::Closing => match self.soa(message, None) {
                    true => Stage::Done,
                    false => return Ok(()),
                },
                Stage::Done => return Ok(()),
            };
        }
    }

    /// The SOA with this serial; false when it does not fit.
    fn soa(&self, message: &mut Message<'_>, serial: Option<u32>) -> bool {
        // A zone without a SOA cannot be; its transfer would end here.
        let Some(newest) = self.envelope.apex.first() else { return true };
        let mut soa = newest.clone();
        let at = soa.len().saturating_sub(SOA_NUMBERS);
        if let (Some(serial), Some(field)) = (serial, soa.get_mut(at..at + 4)) {
            field.copy_from_slice(&serial.to_be_bytes());
        }
        message.put(&soa)
    }

    fn node(&mut self, message: &mut Message<'_>, half: Half) -> Result<bool, Broken> {
        let Some(cursor) = &self.cursor else { return Err(Broken) };
        let changed = cursor.value();
        let codes = if half == Half::Removed { changed.removed() } else { changed.added() };
        message.node(cursor.key(), cursor.shared(), codes, &mut self.names, &self.tails, &self.palette)
    }
}
