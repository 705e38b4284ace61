//! The record that carries a signature (RFC 8945 section 4.2).

use crate::dns::records::{CLASS_ANY, HEADER, Header, Malformed, Reader, Section, WireName, kind};

/// Octets of its data besides algorithm, MAC and other data: time, fudge, and length of MAC, id, code, length of other data.
const FIXED_DATA: usize = 6 + 2 + 2 + 2 + 2 + 2;
/// Type, class, lifetime, length.
const FIXED: usize = 10;
/// Octets of other data at most: a time.
const OTHER_MAX: usize = 6;

/// A signature that was found in a message.
#[derive(Clone, Debug)]
pub struct Found<'m> {
    /// Where it begins: the message without it.
    pub at: usize,
    /// Name of the key.
    pub key: WireName,
    /// Name of the algorithm.
    pub algorithm: WireName,
    /// When it was made.
    pub time: u64,
    /// How many seconds it may be off.
    pub fudge: u16,
    /// The MAC.
    pub mac: &'m [u8],
    /// Id of the message when it was signed.
    pub id: u16,
    /// What went wrong.
    pub code: u16,
    /// The time of the other side, after BADTIME.
    pub other: &'m [u8],
}

impl<'m> Found<'m> {
    /// The signature at the end of a message, which must not have one anywhere else.
    pub fn in_message(message: &'m [u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(message)?;
        let mut found = None;
        while let Some(record) = reader.next()? {
            if found.is_some() {
                return Err(Malformed::Signature);
            }
            if record.kind == kind::TSIG {
                if record.section != Section::Additional || record.class != CLASS_ANY || record.ttl != 0 {
                    return Err(Malformed::Signature);
                }
                found = Some(Self::read(record.at, record.owner, record.data())?);
            }
        }
        Ok(found)
    }

    fn read(at: usize, key: WireName, data: &'m [u8]) -> Result<Self, Malformed> {
        // Not compressed (RFC 8945 section 4.2), so the data is read for itself.
        let (algorithm, end) = WireName::read(data, 0).map_err(|_| Malformed::Signature)?;
        let mut rest = data.get(end..).ok_or(Malformed::Signature)?;
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).ok_or(Malformed::Signature)?;
            rest = left;
            Ok::<_, Malformed>(taken)
        };
        let number = |octets: &[u8]| octets.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
        let short = |octets: &[u8]| u16::try_from(number(octets)).unwrap_or_default();
        let time = number(take(6)?);
        let fudge = short(take(2)?);
        let size = short(take(2)?);
        let mac = take(usize::from(size))?;
        let id = short(take(2)?);
        let code = short(take(2)?);
        let size = short(take(2)?);
        let other = take(usize::from(size))?;
        if rest.is_empty() {
            Ok(Self { at, key, algorithm, time, fudge, mac, id, code, other })
        } else {
            Err(Malformed::Signature)
        }
    }
}

/// A signature that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    pub(super) key: &'a WireName,
    pub(super) algorithm: &'a [u8],
    pub(super) time: u64,
    pub(super) fudge: u16,
    pub(super) id: u16,
    pub(super) code: u16,
    pub(super) other: &'a [u8],
}

impl Fields<'_> {
    /// What is signed besides the message (RFC 8945 section 4.3.3).
    pub(super) fn variables(&self, mut digest: impl FnMut(&[u8])) {
        digest(self.key.as_bytes());
        digest(&CLASS_ANY.to_be_bytes());
        digest(&0_u32.to_be_bytes());
        digest(self.algorithm);
        self.timers(&mut digest);
        digest(&self.code.to_be_bytes());
        digest(&u16::try_from(self.other.len()).unwrap_or(u16::MAX).to_be_bytes());
        digest(self.other);
    }

    /// What is signed besides the later messages of a transfer (RFC 8945 section 5.3.1).
    pub(super) fn timers(&self, mut digest: impl FnMut(&[u8])) {
        let [_, _, time @ ..] = self.time.to_be_bytes();
        digest(&time);
        digest(&self.fudge.to_be_bytes());
    }

    /// Writes the record behind the first `length` octets and counts it in the header: the new length, or `None` when there is no
    /// room.
    pub(super) fn append(&self, octets: &mut [u8], length: usize, mac: &[u8]) -> Option<usize> {
        let [_, _, time @ ..] = self.time.to_be_bytes();
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        let data = self.algorithm.len() + FIXED_DATA + mac.len() + self.other.len();
        let mut at = length;
        let mut put = |part: &[u8]| {
            octets.get_mut(at..at + part.len())?.copy_from_slice(part);
            at += part.len();
            Some(())
        };
        put(self.key.as_bytes())?;
        put(&kind::TSIG.to_be_bytes())?;
        put(&CLASS_ANY.to_be_bytes())?;
        put(&0_u32.to_be_bytes())?;
        put(&short(data))?;
        put(self.algorithm)?;
        put(&time)?;
        put(&self.fudge.to_be_bytes())?;
        put(&short(mac.len()))?;
        put(mac)?;
        put(&self.id.to_be_bytes())?;
        put(&self.code.to_be_bytes())?;
        put(&short(self.other.len()))?;
        put(self.other)?;
        let count = Header::of(octets).ok()?.counts[3].checked_add(1)?;
        octets.get_mut(10..HEADER)?.copy_from_slice(&count.to_be_bytes());
        Some(at)
    }
}

/// Octets of the record at most.
pub(super) fn room(key: &WireName, algorithm: &[u8], mac: usize) -> usize {
    key.as_bytes().len() + FIXED + algorithm.len() + FIXED_DATA + mac + OTHER_MAX
}

/// Header of a message as it was before it was signed: one record less, and the id that it had then.
pub(super) fn unsigned_header(message: &[u8], id: u16) -> Result<[u8; HEADER], Malformed> {
    let mut header = *message.first_chunk::<HEADER>().ok_or(Malformed::Short)?;
    let count = Header::of(message)?.counts[3].checked_sub(1).ok_or(Malformed::Signature)?;
    let [high, low] = id.to_be_bytes();
    let [count_high, count_low] = count.to_be_bytes();
    (header[0], header[1], header[10], header[11]) = (high, low, count_high, count_low);
    Ok(header)
}
