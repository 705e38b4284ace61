//! A transfer that comes in (RFC 5936, RFC 1995 section 4), message by message.
//!
//! Whatever is not exactly a transfer of the zone that was asked for is an error, upon which the caller discards all of it. Records
//! of other zones or classes are left out and counted: a stray one is no reason to be without the feed.

use super::{CLASS_IN, Malformed, Reader, Record, Section, Soa, WireName, kind};
use crate::zone::Serial;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: AXFR.
    Whole,
    /// What changed since this version: IXFR.
    Since(Serial),
}

/// How much may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all messages.
    pub octets: u64,
    /// Records of all messages.
    pub records: u64,
}

/// What a transfer says, in its order.
#[derive(Clone, Copy, Debug)]
pub enum Event<'m> {
    /// The whole zone follows. What was held is no longer needed once it is complete.
    Whole(Soa),
    /// One step follows: what was held must have the version `from`, and has `to` behind it.
    Step {
        /// Version before.
        from: Serial,
        /// The SOA behind it comes with [`Event::Reached`].
        new: Serial,
    },
    /// What is removed by the present step has come, what is added follows, and then the copy has this version.
    Reached(Serial),
    /// This record is gone.
    Removed(Record<'m>),
    /// This record is there.
    Added(Record<'m>),
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The next message.
    More,
    /// Nothing: this is what came.
    Done(Outcome),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What is held is current.
    Current(Soa),
    /// The other side has an older version (RFC 1982), or one that is neither older nor newer.
    Behind(Soa),
    /// The whole zone came.
    Whole(Soa),
    /// Changes came, which lead to this version.
    Changed(Soa),
}

/// Why a transfer is discarded. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TransferError {
    /// No DNS message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An answer to something else.
    #[error("the message is no answer to what was asked")]
    Unasked,
    /// The other side says no.
    #[error("the transfer was refused with code {0}")]
    Refused(u8),
    /// More than may come.
    #[error("the transfer is larger than the limit of the source")]
    TooLarge,
    /// It begins with something else than the SOA of the zone.
    #[error("the transfer does not begin with the SOA of the zone")]
    NoSoa,
    /// Versions that do not follow from each other.
    #[error("the versions in the transfer do not fit together")]
    Inconsistent,
    /// Something follows the end.
    #[error("the transfer goes on behind its end")]
    BehindEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begin,
    /// The first SOA came.
    First(Soa),
    Whole(Soa),
    Removing(Soa),
    Adding(Soa, Serial),
    Done(Outcome),
}

/// One transfer.
#[derive(Debug)]
pub struct Incoming {
    zone: WireName,
    id: u16,
    wanted: Wanted,
    left: Limits,
    state: State,
    /// Records that are of another zone or class.
    pub left_out: u64,
}

impl Incoming {
    /// The answer to a request with this id for this zone.
    #[must_use]
    pub const fn new(zone: WireName, id: u16, wanted: Wanted, limits: Limits) -> Self {
        Self { zone, id, wanted, left: limits, state: State::Begin, left_out: 0 }
    }

    /// Takes the next message, without its length and signature. `each` gets what it says and may stop it with its own error.
    pub fn take<E: From<TransferError>>(
        &mut self,
        message: &[u8],
        mut each: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Progress, E> {
        let mut reader = self.open(message)?;
        while let Some(record) = reader.next().map_err(TransferError::from)? {
            self.left.records = self.left.records.checked_sub(1).ok_or(TransferError::TooLarge)?;
            if record.section == Section::Answer {
                self.record(record, &mut each)?;
            }
        }
        // One SOA alone that is not newer is the whole answer (RFC 1995 section 2); a newer one begins an answer.
        if let (State::First(soa), Wanted::Since(held)) = (self.state, self.wanted)
            && !Serial(soa.serial).is_after(held)
        {
            self.state = State::Done(Outcome::Behind(soa));
        }
        Ok(match self.state {
            State::Done(outcome) => Progress::Done(outcome),
            State::Begin => return Err(TransferError::NoSoa.into()),
            _ => Progress::More,
        })
    }

    fn open<'m>(&mut self, message: &'m [u8]) -> Result<Reader<'m>, TransferError> {
        let octets = u64::try_from(message.len()).unwrap_or(u64::MAX);
        self.left.octets = self.left.octets.checked_sub(octets).ok_or(TransferError::TooLarge)?;
        if matches!(self.state, State::Done(_)) {
            return Err(TransferError::BehindEnd);
        }
        let reader = Reader::new(message)?;
        let header = reader.header();
        let asked = match self.wanted {
            Wanted::Whole => kind::AXFR,
            Wanted::Since(_) => kind::IXFR,
        };
        // RFC 5936 section 2.2.1: the question may be left out of later messages; some servers leave it out of all.
        let same = reader
            .question()
            .is_none_or(|question| question.name == self.zone && question.kind == asked && question.class == CLASS_IN);
        if !header.is_response() || header.opcode() != 0 || header.id != self.id || !same {
            return Err(TransferError::Unasked);
        }
        match header.code() {
            0 if header.is_truncated() => Err(Malformed::Short.into()),
            0 => Ok(reader),
            code => Err(TransferError::Refused(code)),
        }
    }

    fn record<E: From<TransferError>>(
        &mut self,
        record: Record<'_>,
        each: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let apex = record.owner == self.zone;
        let soa = if record.kind == kind::SOA && apex && record.class == CLASS_IN {
            Some(record.soa().map_err(TransferError::from)?)
        } else {
            None
        };
        let Some(soa) = soa else {
            if record.class != CLASS_IN || record.kind == kind::SOA || record.owner.below(&self.zone).is_none() {
                if self.state == State::Begin {
                    return Err(TransferError::NoSoa.into());
                }
                self.left_out += 1;
                return Ok(());
            }
            return self.other(record, each);
        };
        let serial = Serial(soa.serial);
        self.state = match self.state {
            State::Begin => match self.wanted {
                Wanted::Since(held) if held == serial => State::Done(Outcome::Current(soa)),
                _ => State::First(soa),
            },
            State::First(new) => match self.wanted {
                // A zone without anything but its SOA.
                _ if soa.serial == new.serial => {
                    each(Event::Whole(new))?;
                    State::Done(Outcome::Whole(new))
                }
                Wanted::Since(held) if held == serial => {
                    each(Event::Step { from: serial, new: Serial(new.serial) })?;
                    State::Removing(new)
                }
                _ => return Err(TransferError::Inconsistent.into()),
            },
            State::Whole(new) if new.serial == soa.serial => State::Done(Outcome::Whole(new)),
            State::Removing(new) => {
                each(Event::Reached(serial))?;
                State::Adding(new, serial)
            }
            State::Adding(new, reached) if reached == serial => {
                if new.serial == soa.serial {
                    State::Done(Outcome::Changed(new))
                } else {
                    each(Event::Step { from: serial, new: Serial(new.serial) })?;
                    State::Removing(new)
                }
            }
            // Upstream's processor sends its SOA twice to a client that is current.
            State::Done(Outcome::Current(new)) if new.serial == soa.serial => self.state,
            State::Done(_) => return Err(TransferError::BehindEnd.into()),
            State::Whole(_) | State::Adding(..) => return Err(TransferError::Inconsistent.into()),
        };
        Ok(())
    }

    fn other<E: From<TransferError>>(
        &mut self,
        record: Record<'_>,
        each: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.state {
            State::Begin => Err(TransferError::NoSoa.into()),
            State::First(new) => {
                each(Event::Whole(new))?;
                self.state = State::Whole(new);
                each(Event::Added(record))
            }
            State::Whole(_) | State::Adding(..) => each(Event::Added(record)),
            State::Removing(_) => each(Event::Removed(record)),
            State::Done(_) => Err(TransferError::BehindEnd.into()),
        }
    }
}
