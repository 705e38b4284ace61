//! Checking requests that come, and answers to requests of ours.

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};

use super::record::{Fields, Found, room, unsigned_header};
use super::{Clock, FUDGE, Key, Keys, Signer, code};
use crate::dns::records::{HEADER, Header, Malformed};

/// Octets of a MAC at least, however short the other side wants it (RFC 8945 section 5.2.2.1).
const MAC_MIN: usize = 10;
/// Messages of a transfer that may come between two signed ones (RFC 8945 section 5.3.1).
const UNSIGNED_MAX: u32 = 99;
/// Response codes that go with the codes of signatures.
const FORMERR: u8 = 1;
const NOTAUTH: u8 = 9;

/// A request that is what the owner of the key sent.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who.
    pub key: Arc<Key>,
    /// Where the request ends without its signature.
    pub at: usize,
    mac: Vec<u8>,
}

impl Verified {
    /// For the answer.
    #[must_use]
    pub fn signer(&self, clock: Clock) -> Signer {
        Signer::new(Arc::clone(&self.key), self.mac.clone(), clock)
    }
}

/// A request whose signature is no good.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It cannot be read at all: FORMERR, unsigned.
    Malformed(Malformed),
    /// Key or MAC are wrong: NOTAUTH, with a signature record that has no MAC (RFC 8945 section 5.3.2).
    Unsigned {
        /// [`code::BAD_KEY`] or [`code::BAD_SIGNATURE`].
        code: u16,
        /// Where the request ends without its signature.
        at: usize,
        /// The signature record of the answer.
        record: Vec<u8>,
    },
    /// The MAC is right and yet it is not taken: NOTAUTH, signed.
    Signed {
        /// [`code::BAD_TIME`] or [`code::BAD_TRUNCATION`].
        code: u16,
        /// What the request said.
        verified: Verified,
        /// Its time.
        time: u64,
        /// Ours.
        now: u64,
    },
}

impl Refusal {
    /// Code for the header of the answer.
    #[must_use]
    pub const fn response_code(&self) -> u8 {
        match self {
            Self::Malformed(_) => FORMERR,
            Self::Unsigned { .. } | Self::Signed { .. } => NOTAUTH,
        }
    }

    /// Label for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unsigned { code: code::BAD_KEY, .. } => "bad_key",
            Self::Unsigned { .. } => "bad_signature",
            Self::Signed { code: code::BAD_TIME, .. } => "bad_time",
            Self::Signed { .. } => "bad_truncation",
        }
    }

    /// Where the request ends without its signature; `None` if that is not known.
    #[must_use]
    pub const fn at(&self) -> Option<usize> {
        match self {
            Self::Malformed(_) => None,
            Self::Unsigned { at, .. } => Some(*at),
            Self::Signed { verified, .. } => Some(verified.at),
        }
    }

    /// Completes the answer, which has its header and question.
    pub fn append(&self, answer: &mut Vec<u8>) {
        match self {
            Self::Malformed(_) => {}
            Self::Unsigned { record, .. } => {
                let Ok(header) = Header::of(answer) else { return };
                answer.extend(record);
                let count = header.counts[3].saturating_add(1);
                if let Some(field) = answer.get_mut(10..HEADER) {
                    field.copy_from_slice(&count.to_be_bytes());
                }
            }
            Self::Signed { code: number, verified, time, now } => {
                let [_, _, seconds @ ..] = now.to_be_bytes();
                let other: &[u8] = if *number == code::BAD_TIME { &seconds } else { &[] };
                // The clock is not looked at: the time is the one of the request (RFC 8945 section 5.2.3).
                verified.signer(|| 0).append_as(answer, *time, *number, other);
            }
        }
    }
}

impl Keys {
    /// Checks the signature of a request; `None` if it has none.
    pub fn check(&self, request: &[u8], now: u64) -> Result<Option<Verified>, Refusal> {
        let Some(found) = Found::in_message(request).map_err(Refusal::Malformed)? else { return Ok(None) };
        // In this order: key, MAC, time (RFC 8945 section 5.2).
        let Some(key) = self.get(&found.key).filter(|key| key.algorithm.wire() == found.algorithm.as_bytes()) else {
            return Err(unsigned(&found, code::BAD_KEY));
        };
        let full = key.algorithm.octets();
        if found.mac.len() > full || found.mac.len() < MAC_MIN.max(full / 2) {
            return Err(Refusal::Malformed(Malformed::Signature));
        }
        let mac = mac_of(key.context(), request, &found, true).map_err(Refusal::Malformed)?;
        if !same(mac.as_ref(), found.mac) {
            return Err(unsigned(&found, code::BAD_SIGNATURE));
        }
        let verified = Verified { key: Arc::clone(key), at: found.at, mac: found.mac.to_vec() };
        let refused = |code| Err(Refusal::Signed { code, verified: verified.clone(), time: found.time, now });
        if found.mac.len() < full {
            return refused(code::BAD_TRUNCATION);
        }
        if found.time.abs_diff(now) > u64::from(found.fudge) {
            return refused(code::BAD_TIME);
        }
        Ok(Some(verified))
    }
}

/// The answer has the time of the request, and no MAC.
fn unsigned(found: &Found<'_>, code: u16) -> Refusal {
    let algorithm = found.algorithm.as_bytes();
    let fields = Fields { key: &found.key, algorithm, time: found.time, fudge: found.fudge, id: found.id, code, other: &[] };
    // The record is made behind a header that is taken away again.
    let mut octets = vec![0; HEADER + room(&found.key, algorithm, 0)];
    let length = fields.append(&mut octets, HEADER, &[]).unwrap_or(HEADER);
    let record = octets.get(HEADER..length).unwrap_or_default().to_vec();
    Refusal::Unsigned { code, at: found.at, record }
}

/// Goes on over a signed message; `whole` is what is signed with the first of an answer and with a request.
fn mac_of(mut context: hmac::Context, message: &[u8], found: &Found<'_>, whole: bool) -> Result<hmac::Tag, Malformed> {
    context.update(&unsigned_header(message, found.id)?);
    context.update(message.get(HEADER..found.at).ok_or(Malformed::Short)?);
    let fields = Fields {
        key: &found.key,
        algorithm: found.algorithm.as_bytes(),
        time: found.time,
        fudge: found.fudge,
        id: found.id,
        code: found.code,
        other: found.other,
    };
    if whole {
        fields.variables(|part| context.update(part));
    } else {
        fields.timers(|part| context.update(part));
    }
    Ok(context.sign())
}

/// Whether the MAC that came is the one that was computed, as far as it goes.
fn same(computed: &[u8], came: &[u8]) -> bool {
    computed.get(..came.len()).is_some_and(|computed| constant_time::verify_slices_are_equal(computed, came).is_ok())
}

/// Why an answer is not taken. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Untrusted {
    /// No DNS message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The first and the last message must be signed, and one of a hundred in between.
    #[error("the answer is not signed")]
    Missing,
    /// Another key or algorithm than that of the request.
    #[error("the answer is signed with another key")]
    OtherKey,
    /// It was changed on its way, or the secrets differ.
    #[error("the signature of the answer is wrong")]
    Wrong,
    /// The clocks differ.
    #[error("the signature of the answer is too old or from the future; are both clocks right?")]
    Time,
    /// The other side did not take our signature.
    #[error("the other side refuses our signature with code {0}")]
    Remote(u16),
}

/// Signs a request of ours; what comes back goes through the verifier.
#[must_use]
pub fn request(message: &mut Vec<u8>, key: &Arc<Key>, clock: Clock) -> Verifier {
    let mut signer = Signer::new(Arc::clone(key), Vec::new(), clock);
    signer.append(message);
    Verifier { key: Arc::clone(key), context: None, before: signer.into_mac(), unsigned: 0, is_first: true }
}

/// Goes over the messages of one answer.
#[derive(Debug)]
pub struct Verifier {
    key: Arc<Key>,
    /// Has the messages since the last signature, if there are any.
    context: Option<hmac::Context>,
    before: Vec<u8>,
    unsigned: u32,
    is_first: bool,
}

impl Verifier {
    /// Takes the next message: its length without the signature. What an unsigned message says must not be put in force before
    /// [`Verifier::finish`].
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<usize, Untrusted> {
        let found = Found::in_message(message)?;
        let mut context = self.context.take().unwrap_or_else(|| {
            let mut context = self.key.context();
            context.update(&u16::try_from(self.before.len()).unwrap_or(u16::MAX).to_be_bytes());
            context.update(&self.before);
            context
        });
        let Some(found) = found else {
            self.unsigned += 1;
            if self.is_first || self.unsigned > UNSIGNED_MAX {
                return Err(Untrusted::Missing);
            }
            context.update(message);
            self.context = Some(context);
            return Ok(message.len());
        };
        // Such answers are not signed, so all that follows from them is that nothing is taken.
        if matches!(found.code, code::BAD_KEY | code::BAD_SIGNATURE) {
            return Err(Untrusted::Remote(found.code));
        }
        if found.key != self.key.name || found.algorithm.as_bytes() != self.key.algorithm.wire() {
            return Err(Untrusted::OtherKey);
        }
        let mac = mac_of(context, message, &found, self.is_first)?;
        if found.mac.len() != mac.as_ref().len() || !same(mac.as_ref(), found.mac) {
            return Err(Untrusted::Wrong);
        }
        if found.code != 0 {
            return Err(Untrusted::Remote(found.code));
        }
        if found.time.abs_diff(now) > u64::from(found.fudge.min(FUDGE)) {
            return Err(Untrusted::Time);
        }
        (self.before, self.unsigned, self.is_first) = (found.mac.to_vec(), 0, false);
        Ok(found.at)
    }

    /// The same, after which the message is as it was before it was signed: for [`crate::dns::records::Incoming`].
    pub fn open(&mut self, message: &mut Vec<u8>, now: u64) -> Result<(), Untrusted> {
        let length = self.check(message, now)?;
        if length < message.len() {
            *message = without_signature(message, length);
        }
        Ok(())
    }

    /// The answer is complete: its last message must have been signed.
    pub fn finish(self) -> Result<(), Untrusted> {
        if self.is_first || self.context.is_some() { Err(Untrusted::Missing) } else { Ok(()) }
    }
}

/// A message as it was before it was signed; the signature begins at `at`.
#[must_use]
pub fn without_signature(message: &[u8], at: usize) -> Vec<u8> {
    let mut unsigned = message.get(..at).unwrap_or_default().to_vec();
    if let Ok(header) = Header::of(message)
        && let Some(count) = unsigned.get_mut(10..HEADER)
    {
        count.copy_from_slice(&header.counts[3].saturating_sub(1).to_be_bytes());
    }
    unsigned
}
