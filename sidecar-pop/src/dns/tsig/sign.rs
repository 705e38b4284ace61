//! Signing answers.

use std::sync::Arc;

use super::record::{Fields, room};
use super::{Clock, FUDGE, Key};
use crate::dns::records::Header;
use crate::dns::render::Sign;

/// Signs the messages of one answer, each with the MAC of the one before (RFC 8945 sections 5.3 and 5.3.1). Every message of a
/// transfer is signed: readers would take up to 99 without, and a MAC costs less than a tenth of sending.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<Key>,
    /// MAC of the request, then of the message before.
    before: Vec<u8>,
    is_first: bool,
    clock: Clock,
}

impl Signer {
    pub(super) const fn new(key: Arc<Key>, before: Vec<u8>, clock: Clock) -> Self {
        Self { key, before, is_first: true, clock }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Appends the signature to a whole message.
    pub fn append(&mut self, message: &mut Vec<u8>) {
        let length = message.len();
        message.resize(length + self.room(), 0);
        let length = self.sign(message, length);
        message.truncate(length);
    }

    /// The same with a time and a code of their own, for BADTIME.
    pub(super) fn append_as(&mut self, message: &mut Vec<u8>, time: u64, code: u16, other: &[u8]) {
        let length = message.len();
        message.resize(length + self.room(), 0);
        let length = self.put(message, length, time, code, other);
        message.truncate(length);
    }

    fn put(&mut self, octets: &mut [u8], length: usize, time: u64, code: u16, other: &[u8]) -> usize {
        let id = Header::of(octets).map_or(0, |header| header.id);
        let algorithm = self.key.algorithm.wire();
        let fields = Fields { key: &self.key.name, algorithm, time, fudge: FUDGE, id, code, other };
        let mut context = self.key.context();
        // A request of ours has nothing before it.
        if !self.before.is_empty() {
            context.update(&u16::try_from(self.before.len()).unwrap_or(u16::MAX).to_be_bytes());
            context.update(&self.before);
        }
        context.update(octets.get(..length).unwrap_or_default());
        if self.is_first {
            fields.variables(|part| context.update(part));
        } else {
            fields.timers(|part| context.update(part));
        }
        let tag = context.sign();
        self.is_first = false;
        self.before.clear();
        self.before.extend(tag.as_ref());
        // Whoever renders leaves the room that was asked for. Without it the message goes out unsigned, and is not taken.
        fields.append(octets, length, tag.as_ref()).unwrap_or(length)
    }

    pub(super) fn into_mac(self) -> Vec<u8> {
        self.before
    }
}

impl Sign for Signer {
    fn room(&self) -> usize {
        room(&self.key.name, self.key.algorithm.wire(), self.key.algorithm.octets())
    }

    fn sign(&mut self, octets: &mut [u8], length: usize) -> usize {
        let time = (self.clock)();
        self.put(octets, length, time, 0, &[])
    }
}
