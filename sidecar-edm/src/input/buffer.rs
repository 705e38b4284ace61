//! What was read from one connection and is not consumed yet: in one piece, in place, bounded.

use super::reader::MAX_DATA_LENGTH;

/// A connection begins with so much: enough for a resolver that answers some thousand questions a second.
pub const FIRST: usize = 16 * 1024;
/// And never has more. The longest frame fits, and a read of a whole socket buffer of frames of the usual length.
pub const MOST: usize = 128 * 1024;
const _: () = assert!(MOST > 4 + MAX_DATA_LENGTH);

/// The buffer. It grows when a read fills it, because then more was waiting.
#[derive(Debug)]
pub struct Buffer {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { octets: vec![0; FIRST], start: 0, end: 0 }
    }
}

impl Buffer {
    /// What is not consumed.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    /// So much is done with.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for the next read; never empty, as long as no more than one frame is unread.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.octets.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.octets.len() {
            self.grow(self.octets.len() * 2);
        }
        &mut self.octets[self.end..]
    }

    /// So much of the room was filled. Tells whether all of it was: then more may be waiting, and the next room is larger.
    pub fn filled(&mut self, count: usize) -> bool {
        self.end = (self.end + count).min(self.octets.len());
        let is_full = self.end == self.octets.len();
        if is_full {
            self.grow(self.octets.len() * 2);
        }
        is_full
    }

    /// Gives away what was read, except for the last octets that are `unread` from `consumed` on: these are kept, in the other buffer's
    /// place. So somebody can look at the frames while others read on.
    pub fn exchange(&mut self, other: &mut Self, consumed: usize) {
        let rest = self.unread().get(consumed..).unwrap_or_default();
        (other.start, other.end) = (0, rest.len());
        other.grow(self.octets.len());
        other.octets[..rest.len()].copy_from_slice(rest);
        std::mem::swap(self, other);
    }

    fn grow(&mut self, size: usize) {
        if size > self.octets.len() {
            self.octets.resize(size.min(MOST), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(buffer: &mut Buffer, octets: &[u8]) -> bool {
        buffer.space()[..octets.len()].copy_from_slice(octets);
        buffer.filled(octets.len())
    }

    #[test]
    fn grows_when_filled_and_never_beyond_its_bound() {
        let mut buffer = Buffer::default();
        for size in [FIRST, 2 * FIRST, 4 * FIRST, MOST, MOST, MOST] {
            assert_eq!(buffer.space().len(), size);
            assert!(!buffer.filled(size - 1));
            assert!(buffer.filled(1));
            buffer.consume(size);
        }
    }

    #[test]
    fn the_longest_frame_finds_room() {
        let mut buffer = Buffer::default();
        let mut left = 4 + MAX_DATA_LENGTH;
        while left > 0 {
            let now = buffer.space().len().min(left).min(1000);
            assert!(now > 0);
            buffer.filled(now);
            left -= now;
        }
        assert_eq!(buffer.unread().len(), 4 + MAX_DATA_LENGTH);
        assert!(buffer.octets.len() <= MOST);
    }

    #[test]
    fn what_is_unread_stays_and_what_was_read_goes() {
        let (mut buffer, mut other) = (Buffer::default(), Buffer::default());
        write(&mut buffer, b"one two thr");
        buffer.consume(4);
        assert_eq!(buffer.unread(), b"two thr");
        buffer.exchange(&mut other, 4);
        assert_eq!((other.unread(), buffer.unread()), (b"two thr".as_slice(), b"thr".as_slice()));
        write(&mut buffer, b"ee");
        assert_eq!(buffer.unread(), b"three");
        buffer.exchange(&mut other, 5);
        assert_eq!((other.unread(), buffer.unread()), (b"three".as_slice(), b"".as_slice()));
    }

    #[test]
    fn both_grow() {
        let (mut buffer, mut other) = (Buffer::default(), Buffer::default());
        let all = vec![7; FIRST];
        assert!(write(&mut buffer, &all));
        buffer.exchange(&mut other, 1);
        assert_eq!((buffer.octets.len(), other.octets.len()), (2 * FIRST, 2 * FIRST));
        assert_eq!(buffer.unread(), &all[1..]);
    }
}
