//! What follows a record's owner.

use tapir_table::Code;

/// Octets that are copied at once: pointer, type, class, TTL, length and the longest of the special targets have 26.
const CHUNK: usize = 32;
const TYPE_CNAME: u16 = 5;
const CLASS_IN: u16 = 1;

/// The names that mean an action (draft-vixie-dnsop-dns-rpz section 3), by number of the code, the first that says something first.
const TARGETS: [&[u8]; 5] = [b"\x0crpz-passthru\0", b"\x0crpz-tcp-only\0", b"\x01*\0", b"\0", b"\x08rpz-drop\0"];

/// Rest of the record for each action that is a name, room for a pointer in front.
#[derive(Clone, Debug)]
pub struct Tails {
    tails: [([u8; CHUNK], usize); TARGETS.len()],
    ttl: u32,
}

impl Tails {
    /// With this lifetime.
    pub fn new(ttl: u32) -> Self {
        let tails = TARGETS.map(|target| {
            let mut tail = [0; CHUNK];
            let octets = record([0, 0], TYPE_CNAME, ttl, target);
            if let Some(to) = tail.get_mut(..octets.len()) {
                to.copy_from_slice(&octets);
            }
            (tail, octets.len())
        });
        Self { tails, ttl }
    }

    /// Octets and how many of them count; `None` for local data and for silence. The first two are the pointer's place.
    #[inline]
    pub(super) fn get(&self, code: Code) -> Option<&([u8; CHUNK], usize)> {
        self.tails.get(usize::from(code.number()).wrapping_sub(1))
    }

    pub(super) const fn ttl(&self) -> u32 {
        self.ttl
    }
}

/// The name that an action is; `None` for local data and for silence.
#[must_use]
pub fn target(code: Code) -> Option<&'static [u8]> {
    TARGETS.get(usize::from(code.number()).wrapping_sub(1)).copied()
}

/// A record whose owner is this pointer; `[0xc0, 12]` is the zone.
pub fn record(owner: [u8; 2], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(12 + data.len());
    octets.extend(owner);
    octets.extend(kind.to_be_bytes());
    octets.extend(CLASS_IN.to_be_bytes());
    octets.extend(ttl.to_be_bytes());
    octets.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    octets.extend(data);
    octets
}
