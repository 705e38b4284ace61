//! Splits a stream of octets into frames, however the octets arrive.

use bytes::{Buf, Bytes, BytesMut};

use super::control::{MAX_CONTROL_LENGTH, MIN_CONTROL_LENGTH};

/// Longest data frame that is taken: 96 KiB, as upstream. A DNS message of 64 KiB with all that dnstap adds fits well.
pub const MAX_DATA_LENGTH: usize = 96 * 1024;
const LENGTH_FIELD: usize = 4;

/// A frame without its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Payload of a control frame.
    Control(Bytes),
    /// Payload of a data frame.
    Data(Bytes),
}

/// Why the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A control frame shorter or longer than allowed.
    #[error("reading a control frame: length {0} is not between 4 and 512")]
    ControlLength(u32),
    /// A data frame above [`MAX_DATA_LENGTH`]; it was read and thrown away.
    #[error("reading a data frame: length {0} is above the limit")]
    DataLength(u32),
}

/// Decoder of one connection. It holds at most one frame and what one read brought.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Announced length and octets still to be thrown away of a data frame that is too long.
    oversized: Option<(u32, usize)>,
}

impl Decoder {
    /// Takes what was read.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next complete frame, or `None` if more octets are needed. After an error nothing more comes.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some((length, remaining)) = self.oversized {
            return self.discard(length, remaining);
        }
        let Some(length) = self.peek_u32(0) else { return Ok(None) };
        if length == 0 {
            return self.next_control();
        }
        let size = length as usize;
        if size > MAX_DATA_LENGTH {
            self.buffer.advance(LENGTH_FIELD);
            return self.discard(length, size);
        }
        if self.buffer.len() < LENGTH_FIELD + size {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_FIELD);
        // Copied, not split off: a frame that waits in a queue must not keep a whole read buffer alive.
        let payload = Bytes::copy_from_slice(&self.buffer[..size]);
        self.buffer.advance(size);
        Ok(Some(Frame::Data(payload)))
    }

    /// No octet of an unfinished frame is held.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.oversized.is_none()
    }

    fn next_control(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.peek_u32(LENGTH_FIELD) else { return Ok(None) };
        let size = length as usize;
        if !(MIN_CONTROL_LENGTH..=MAX_CONTROL_LENGTH).contains(&size) {
            return Err(FrameError::ControlLength(length));
        }
        if self.buffer.len() < 2 * LENGTH_FIELD + size {
            return Ok(None);
        }
        self.buffer.advance(2 * LENGTH_FIELD);
        let payload = Bytes::copy_from_slice(&self.buffer[..size]);
        self.buffer.advance(size);
        Ok(Some(Frame::Control(payload)))
    }

    fn discard(&mut self, length: u32, remaining: usize) -> Result<Option<Frame>, FrameError> {
        let now = remaining.min(self.buffer.len());
        self.buffer.advance(now);
        self.oversized = Some((length, remaining - now));
        if remaining == now { Err(FrameError::DataLength(length)) } else { Ok(None) }
    }

    fn peek_u32(&self, offset: usize) -> Option<u32> {
        let octets = self.buffer.get(offset..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*octets))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(decoder: &mut Decoder, frames: &mut Vec<Frame>) -> Option<FrameError> {
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Frames and the error, if any, of a stream that arrives in pieces of the given sizes (the rest at once).
    fn decode(stream: &[u8], pieces: &[usize]) -> (Vec<Frame>, Option<FrameError>) {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        let mut rest = stream;
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            decoder.push(now);
            if let Some(error) = drain(&mut decoder, &mut frames) {
                return (frames, Some(error));
            }
            rest = later;
        }
        (frames, None)
    }

    fn data_frame(size: usize) -> Vec<u8> {
        let mut frame = u32::try_from(size).unwrap().to_be_bytes().to_vec();
        frame.resize(4 + size, 7);
        frame
    }

    #[test]
    fn takes_the_longest_frame_and_throws_a_longer_one_away() {
        let (frames, error) = decode(&data_frame(MAX_DATA_LENGTH), &[]);
        assert_eq!((frames.len(), error), (1, None));

        let mut decoder = Decoder::default();
        let long = data_frame(MAX_DATA_LENGTH + 1);
        for piece in long[..long.len() - 1].chunks(10_000) {
            decoder.push(piece);
            assert_eq!(decoder.next_frame(), Ok(None));
            assert!(decoder.buffer.len() <= 10_000, "an oversized frame must not be collected");
        }
        decoder.push(&long[long.len() - 1..]);
        assert_eq!(decoder.next_frame(), Err(FrameError::DataLength(98_305)));
    }

    #[test]
    fn refuses_control_lengths_outside_the_limits() {
        for (length, good) in [(3u32, false), (4, true), (512, true), (513, false)] {
            let mut stream = vec![0, 0, 0, 0];
            stream.extend_from_slice(&length.to_be_bytes());
            stream.resize(8 + length as usize, 0);
            let (frames, error) = decode(&stream, &[]);
            assert_eq!(frames.len(), usize::from(good));
            assert_eq!(error, (!good).then_some(FrameError::ControlLength(length)));
        }
    }

    fn frame_strategy() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => (1usize..300).prop_map(data_frame),
            1 => Just(data_frame(MAX_DATA_LENGTH)),
            1 => Just(data_frame(MAX_DATA_LENGTH + 5)),
            3 => (0u32..520).prop_map(|length| {
                let mut frame = vec![0, 0, 0, 0];
                frame.extend_from_slice(&length.to_be_bytes());
                frame.resize(8 + length as usize, 1);
                frame
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_frames(
            frames in prop::collection::vec(frame_strategy(), 0..6),
            pieces in prop::collection::vec(0usize..400, 0..60),
        ) {
            let stream = frames.concat();
            prop_assert_eq!(decode(&stream, &pieces), decode(&stream, &[]));
        }

        #[test]
        fn garbage_never_panics_and_splits_alike(
            stream in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..2000),
            pieces in prop::collection::vec(0usize..50, 0..60),
        ) {
            prop_assert_eq!(decode(&stream, &pieces), decode(&stream, &[]));
        }
    }
}
