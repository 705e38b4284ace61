//! A zone as the messages of a transfer (RFC 5936), rendered while the reader takes them.
//!
//! Every message repeats the question (RFC 5936 section 2.2.1 allows it), so that the zone's name stands at octet 12 of each, and
//! has at most 16 383 octets, so that a pointer (14 bits) reaches all of it. Names come in tree order: what a name shares with
//! the one before stands in the message already, and mostly one label and one pointer are left to write.
//!
//! For speed all copies in the loop have a constant size, which compiles to a few moves where a variable one is a call. What is
//! copied too much is overwritten by what follows, or lies behind the message.

mod changes;
mod incremental;
mod message;
mod names;
mod tails;

use std::sync::Arc;

use tapir_table::{Broken, Codes, Cursor, Palette, ReadError};

pub use self::changes::{Changed, Condensed, NoSteps, Step, Steps};
pub use self::incremental::Incremental;
pub use self::message::{LIMIT, Message, Window};
pub use self::tails::{Tails, record, target};

/// Puts a signature behind each message of a transfer (RFC 8945 section 5.3.1), or nothing.
pub trait Sign {
    /// Octets that it may append.
    fn room(&self) -> usize;

    /// Appends to the message that stands at the beginning of `octets` and has `length` of them: the new length.
    fn sign(&mut self, octets: &mut [u8], length: usize) -> usize;
}

/// No signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsigned;

impl Sign for Unsigned {
    fn room(&self) -> usize {
        0
    }

    fn sign(&mut self, _: &mut [u8], length: usize) -> usize {
        length
    }
}

/// A signature or none.
impl<S: Sign> Sign for Option<S> {
    fn room(&self) -> usize {
        self.as_ref().map_or(0, Sign::room)
    }

    fn sign(&mut self, octets: &mut [u8], length: usize) -> usize {
        match self {
            Some(sign) => sign.sign(octets, length),
            None => length,
        }
    }
}

/// What a whole transfer is made of besides the names.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Id of the request.
    pub id: u16,
    /// Its question in wire form: name of the zone, type, class.
    pub question: Vec<u8>,
    /// SOA and NS records, each as [`record`] makes it. The first comes again at the end.
    pub apex: Vec<Vec<u8>>,
    /// Lifetime of the records that are no apex.
    pub ttl: u32,
    /// Local data.
    pub palette: Arc<Palette>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The apex comes.
    Opening,
    /// The cursor is to be advanced.
    Next,
    /// The name that the cursor stands on did not fit any more.
    Pending,
    /// The last SOA comes.
    Closing,
    Done,
}

/// Renders one transfer.
#[derive(Debug)]
pub struct Renderer<S = Unsigned> {
    envelope: Envelope,
    tails: Tails,
    names: names::Names,
    stage: Stage,
    sign: S,
}

impl<S: Sign> Renderer<S> {
    /// Begins.
    pub fn new(envelope: Envelope, sign: S) -> Self {
        let tails = Tails::new(envelope.ttl);
        Self { envelope, tails, names: names::Names::new(), stage: Stage::Opening, sign }
    }

    /// Fills the window with as many whole messages, each behind its length, as it has room for; false when nothing is left.
    pub fn fill<C: Cursor<Value = Codes>>(&mut self, cursor: &mut C, window: &mut Window) -> Result<bool, ReadError> {
        window.clear();
        while self.stage != Stage::Done {
            let limit = LIMIT - self.sign.room();
            let Some(mut message) = window.begin(self.envelope.id, &self.envelope.question, limit) else { return Ok(true) };
            self.names.restart();
            self.render(cursor, &mut message)?;
            let length = message.finish();
            window.end(length, |octets, length| self.sign.sign(octets, length));
        }
        Ok(!window.is_empty())
    }

    fn render<C: Cursor<Value = Codes>>(&mut self, cursor: &mut C, message: &mut Message<'_>) -> Result<(), ReadError> {
        if self.stage == Stage::Opening {
            for apex in &self.envelope.apex {
                message.put(apex);
            }
            self.stage = Stage::Next;
        }
        if self.stage == Stage::Pending {
            // An empty message is larger than the records of any name: 255 octets of name and 8 KiB of local data.
            if !message.node(
                cursor.key(),
                cursor.shared(),
                cursor.value(),
                &mut self.names,
                &self.tails,
                &self.envelope.palette,
            )? {
                return Err(Broken.into());
            }
            self.stage = Stage::Next;
        }
        while self.stage == Stage::Next {
            if !cursor.advance()? {
                self.stage = Stage::Closing;
                break;
            }
            if !message.node(
                cursor.key(),
                cursor.shared(),
                cursor.value(),
                &mut self.names,
                &self.tails,
                &self.envelope.palette,
            )? {
                self.stage = Stage::Pending;
            }
        }
        if self.stage == Stage::Closing && self.envelope.apex.first().is_none_or(|soa| message.put(soa)) {
            self.stage = Stage::Done;
        }
        Ok(())
    }
}
