//! Frame Streams, bidirectional (`spec/edm.md` 3.2): the handshake, and where the frames stand in what was read.
//!
//! Pure: octets in, places and answers out. Nothing is copied; time limits and sockets are the business of others.

use super::control::{self, ContentTypes, Control};

/// Longest data frame. A longer one is read, thrown away, and ends the connection.
pub const MAX_DATA_LENGTH: usize = 98_304;
/// Places of one pass. Frames of the usual length fill the largest buffer before.
const MAX_PLACES: usize = 4096;
const LENGTH_FIELD: usize = 4;

/// Where the payload of a data frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    start: u32,
    length: u32,
}

impl Place {
    /// In the octets of the pass that found it.
    #[must_use]
    pub const fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

/// Why the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A control frame shorter or longer than allowed.
    #[error("reading a control frame: length {0} is not between 4 and 512")]
    ControlLength(u32),
    /// Shorter than its own type, or octets left over that make no field.
    #[error("reading a control frame: cut or left-over octets")]
    ControlCut,
    /// A field that is not a content type.
    #[error("reading a control frame: unknown field type {0}")]
    UnknownField(u32),
    /// A data frame above [`MAX_DATA_LENGTH`].
    #[error("reading a data frame: length {0} is above the limit")]
    DataLength(u32),
    /// Not the frame that the handshake has here; also senders without READY (unidirectional).
    #[error("shaking hands: unexpected frame")]
    UnexpectedFrame,
    /// READY or START speak of something else than dnstap.
    #[error("shaking hands: content type is not dnstap")]
    ContentType,
}

/// What is to be done after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read more.
    More,
    /// There are more frames already.
    Again,
    /// Send this.
    Send(&'static [u8]),
    /// Send this, and close.
    Finish(&'static [u8]),
    /// Close.
    Refuse(Refused),
}

/// What one pass has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Octets that are done with.
    pub consumed: usize,
    /// What is to be done.
    pub next: Next,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for READY.
    Ready,
    /// Waiting for START. `typed`: READY named content types.
    Start {
        /// READY named content types, dnstap among them.
        typed: bool,
    },
    /// Data flows.
    Data,
    /// STOP came, or something that ends the session.
    Ended,
}

/// One session.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    phase: Phase,
    /// Announced length of a data frame that is too long, and what of it is still to be thrown away.
    oversized: Option<(u32, usize)>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { phase: Phase::Ready, oversized: None }
    }
}

impl Reader {
    /// Where the session stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The stream may end here without anything being lost, if no octet is left unconsumed.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.oversized.is_none()
    }

    /// Goes through what was read and is not consumed yet, and adds the places of whole data frames.
    pub fn pass(&mut self, octets: &[u8], places: &mut Vec<Place>) -> Pass {
        let mut consumed = 0;
        let next = loop {
            if self.phase == Phase::Ended {
                break Next::More;
            }
            if let Some((length, remaining)) = self.oversized {
                let now = remaining.min(octets.len() - consumed);
                consumed += now;
                self.oversized = Some((length, remaining - now));
                break if remaining == now { self.refuse(Refused::DataLength(length)) } else { Next::More };
            }
            let Some(length) = number(octets, consumed) else { break Next::More };
            let start = consumed + LENGTH_FIELD;
            let size = length as usize;
            if size == 0 {
                let Some((frame, end)) = control_frame(octets, start) else { break Next::More };
                let answer = frame.and_then(|payload| self.control(payload));
                consumed = end;
                match answer {
                    Ok(None) => {}
                    Ok(Some(next)) => break next,
                    Err(refused) => break self.refuse(refused),
                }
            } else if self.phase != Phase::Data {
                break self.refuse(Refused::UnexpectedFrame);
            } else if size > MAX_DATA_LENGTH {
                consumed = start;
                self.oversized = Some((length, size));
            } else if octets.len() - start < size {
                break Next::More;
            } else if places.len() == MAX_PLACES {
                break Next::Again;
            } else {
                // A buffer is far smaller than what fits.
                places.push(Place { start: start as u32, length });
                consumed = start + size;
            }
        };
        Pass { consumed, next }
    }

    const fn refuse(&mut self, refused: Refused) -> Next {
        self.phase = Phase::Ended;
        Next::Refuse(refused)
    }

    fn control(&mut self, payload: &[u8]) -> Result<Option<Next>, Refused> {
        let Control { number, content_types } = Control::parse(payload)?;
        match (self.phase, number) {
            (Phase::Ready, control::READY) => {
                let typed = match content_types {
                    ContentTypes::None => false,
                    ContentTypes::Dnstap => true,
                    ContentTypes::Others => return Err(Refused::ContentType),
                };
                self.phase = Phase::Start { typed };
                Ok(Some(Next::Send(if typed { control::ACCEPT_DNSTAP } else { control::ACCEPT_ANY })))
            }
            (Phase::Start { typed }, control::START) => {
                // START is checked against the union of both frames' types, so after a READY that named dnstap every START passes; after
                // a READY that named nothing, START must not name anything.
                if !typed && content_types != ContentTypes::None {
                    return Err(Refused::ContentType);
                }
                self.phase = Phase::Data;
                Ok(None)
            }
            (Phase::Data, control::STOP) => {
                self.phase = Phase::Ended;
                Ok(Some(Next::Finish(control::FINISH)))
            }
            (Phase::Data, _) => Ok(None),
            _ => Err(Refused::UnexpectedFrame),
        }
    }
}

/// Payload of the control frame whose length stands at `offset`, and where it ends; none if it is not all there.
fn control_frame(octets: &[u8], offset: usize) -> Option<(Result<&[u8], Refused>, usize)> {
    let length = number(octets, offset)?;
    let start = offset + LENGTH_FIELD;
    if !(control::SHORTEST..=control::LONGEST).contains(&(length as usize)) {
        return Some((Err(Refused::ControlLength(length)), start));
    }
    let end = start + length as usize;
    octets.get(start..end).map(|payload| (Ok(payload), end))
}

#[inline]
fn number(octets: &[u8], offset: usize) -> Option<u32> {
    octets.get(offset..)?.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::control::tests::frame as control_octets;
    use super::*;
    use crate::vectors;

    const DNSTAP: &[u8] = b"protobuf:dnstap.Dnstap";

    /// What a session comes to whose octets arrive in pieces of these sizes (the rest at once).
    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        frames: Vec<Vec<u8>>,
        answers: Vec<Next>,
        left: usize,
    }

    fn run(stream: &[u8], pieces: &[usize]) -> Seen {
        let (mut reader, mut seen, mut held, mut rest) = (Reader::default(), Seen::default(), Vec::new(), stream);
        let mut places = Vec::new();
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            held.extend_from_slice(now);
            rest = later;
            loop {
                places.clear();
                let Pass { consumed, next } = reader.pass(&held, &mut places);
                seen.frames.extend(places.iter().map(|place| held[place.range()].to_vec()));
                held.drain(..consumed);
                match next {
                    Next::More => break,
                    Next::Again => {}
                    Next::Send(_) => seen.answers.push(next),
                    Next::Finish(_) | Next::Refuse(_) => {
                        seen.answers.push(next);
                        seen.left = held.len() + rest.len();
                        return seen;
                    }
                }
            }
            assert!(held.len() <= 4 + MAX_DATA_LENGTH + piece.min(stream.len()), "more is held than a frame and what was read");
        }
        seen.left = held.len();
        seen
    }

    fn data(size: usize) -> Vec<u8> {
        let mut frame = u32::try_from(size).unwrap().to_be_bytes().to_vec();
        frame.resize(4 + size, (size % 251) as u8);
        frame
    }

    fn opening() -> Vec<u8> {
        [control_octets(control::READY, &[DNSTAP]), control_octets(control::START, &[DNSTAP])].concat()
    }

    fn refusal(stream: &[u8]) -> Option<Refused> {
        run(stream, &[]).answers.last().and_then(|next| if let Next::Refuse(refused) = next { Some(*refused) } else { None })
    }

    #[test]
    fn recorded_session() {
        let vector = vectors::load("framestream.json");
        assert_eq!(vector["max_data_frame_bytes"], MAX_DATA_LENGTH);
        assert_eq!(vector["max_control_frame_bytes"], control::LONGEST);
        let seen = run(&vectors::octets(&vector["client_session_hex"]), &[]);
        assert_eq!(seen.answers, [Next::Send(control::ACCEPT_DNSTAP), Next::Finish(control::FINISH)]);
        assert_eq!(seen.frames.iter().map(Vec::len).collect::<Vec<_>>(), [0x58, 0x73]);
        assert_eq!(seen.left, 0);
    }

    #[test]
    fn content_types_of_ready_and_start() {
        let check = |ready: &[&[u8]], start: &[&[u8]], expected: Option<Refused>| {
            let stream = [control_octets(control::READY, ready), control_octets(control::START, start)].concat();
            assert_eq!(refusal(&stream), expected, "{ready:?} {start:?}");
        };
        check(&[b"other", DNSTAP], &[DNSTAP], None);
        check(&[DNSTAP], &[], None);
        check(&[DNSTAP], &[b"other"], None);
        check(&[], &[], None);
        check(&[], &[DNSTAP], Some(Refused::ContentType));
        check(&[b"other"], &[DNSTAP], Some(Refused::ContentType));
        assert_eq!(run(&control_octets(control::READY, &[]), &[]).answers, [Next::Send(control::ACCEPT_ANY)]);
        assert_eq!(run(&control_octets(control::READY, &[b"other"]), &[]).answers, [Next::Refuse(Refused::ContentType)]);
    }

    #[test]
    fn whatever_does_not_begin_with_ready_is_refused_at_once() {
        let openings =
            [control_octets(control::START, &[DNSTAP]), control_octets(control::STOP, &[]), vec![0, 0, 0, 1], b"GET /".to_vec()];
        for opening in openings {
            assert_eq!(refusal(&opening), Some(Refused::UnexpectedFrame), "{opening:?}");
        }
        let twice = control_octets(control::READY, &[]).repeat(2);
        assert_eq!(refusal(&twice), Some(Refused::UnexpectedFrame));
    }

    #[test]
    fn other_control_frames_are_ignored_while_data_flows_if_they_are_well_formed() {
        let between = [control_octets(control::READY, &[]), control_octets(77, &[b"x"])].concat();
        let seen = run(&[opening(), data(3), between, data(5)].concat(), &[]);
        assert_eq!(seen.frames, [data(3)[4..].to_vec(), data(5)[4..].to_vec()]);
        assert_eq!(refusal(&[opening(), vec![0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 1]].concat()), Some(Refused::ControlCut));
    }

    #[test]
    fn the_longest_frames_and_one_octet_more() {
        let longest = run(&[opening(), data(MAX_DATA_LENGTH), data(1)].concat(), &[]);
        assert_eq!(longest.frames.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_DATA_LENGTH, 1]);
        // Frames before it are kept, it is read to its end, and nothing of it is held.
        let longer = [opening(), data(7), data(MAX_DATA_LENGTH + 1)].concat();
        let seen = run(&longer, &[10_000; 20]);
        assert_eq!((seen.frames.len(), seen.answers.last()), (1, Some(&Next::Refuse(Refused::DataLength(98_305)))));
        assert_eq!(run(&longer[..longer.len() - 1], &[]).answers.len(), 1, "not before its end");

        for (length, good) in [(3u32, false), (4, true), (512, true), (513, false)] {
            let mut stream = [&[0; 4], length.to_be_bytes().as_slice(), &control::READY.to_be_bytes()].concat();
            if length > 12 {
                stream.extend_from_slice(&[1u32.to_be_bytes(), (length - 12).to_be_bytes()].concat());
            }
            stream.resize(8 + length as usize, 0);
            let expected = if good { None } else { Some(Refused::ControlLength(length)) };
            assert_eq!(refusal(&stream).filter(|refused| *refused != Refused::ContentType), expected);
        }
    }

    #[test]
    fn more_frames_than_places_need_several_passes() {
        let stream = [opening(), data(1).repeat(2 * MAX_PLACES + 5), control_octets(control::STOP, &[])].concat();
        let seen = run(&stream, &[]);
        assert_eq!((seen.frames.len(), seen.answers.len()), (2 * MAX_PLACES + 5, 2));
    }

    #[test]
    fn nothing_counts_after_stop() {
        let seen = run(&[opening(), control_octets(control::STOP, &[]), data(5)].concat(), &[]);
        assert_eq!((seen.frames.len(), seen.left), (0, 9));
    }

    fn piece_of_stream() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => (1usize..300).prop_map(data),
            1 => Just(data(MAX_DATA_LENGTH)),
            1 => Just(data(MAX_DATA_LENGTH + 5)),
            2 => (0u32..90).prop_map(|number| control_octets(number, &[DNSTAP])),
            1 => (0u32..520).prop_map(|length| {
                let mut frame = [[0; 4], length.to_be_bytes()].concat();
                frame.resize(8 + length as usize, 1);
                frame
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same(
            frames in prop::collection::vec(piece_of_stream(), 0..8),
            pieces in prop::collection::vec(0usize..400, 0..60),
        ) {
            let stream = [opening(), frames.concat()].concat();
            prop_assert_eq!(run(&stream, &pieces), run(&stream, &[]));
        }

        #[test]
        fn octet_by_octet_as_all_at_once(frames in prop::collection::vec((1usize..40).prop_map(data), 0..6)) {
            let stream = [opening(), frames.concat(), control_octets(control::STOP, &[])].concat();
            let seen = run(&stream, &vec![1; stream.len()]);
            prop_assert_eq!(seen.frames.len(), frames.len());
            prop_assert_eq!(seen, run(&stream, &[]));
        }

        #[test]
        fn garbage_never_panics_and_splits_alike(
            shaken in any::<bool>(),
            garbage in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..2000),
            pieces in prop::collection::vec(0usize..50, 0..60),
        ) {
            let stream = [if shaken { opening() } else { Vec::new() }, garbage].concat();
            prop_assert_eq!(run(&stream, &pieces), run(&stream, &[]));
        }
    }
}
