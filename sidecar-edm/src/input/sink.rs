//! Where frames go: straight from the read buffer, some at a time.

use super::reader::Place;

/// Frames at a time, so that the work on one can be done while memory is fetched for the next.
pub const GROUP: usize = 16;

/// Takes the frames of one connection, in order, on the connection's own thread. What it does not take is lost.
///
/// It may take its time, but the resolver must not wait for it: after a while somebody else reads in its place and drops what comes.
/// If it panics, the connection ends, and the next one has a new sink.
pub trait FrameSink {
    /// Payloads of up to [`GROUP`] data frames, at least one.
    fn frames(&mut self, frames: &[&[u8]]);
}

/// Hands these frames over.
pub(super) fn hand_over(octets: &[u8], places: &[Place], sink: &mut impl FrameSink) {
    let mut group: [&[u8]; GROUP] = [&[]; GROUP];
    for places in places.chunks(GROUP) {
        for (frame, place) in group.iter_mut().zip(places) {
            *frame = octets.get(place.range()).unwrap_or_default();
        }
        sink.frames(&group[..places.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;

    #[derive(Default)]
    struct Groups(Vec<Vec<Vec<u8>>>);

    impl FrameSink for Groups {
        fn frames(&mut self, frames: &[&[u8]]) {
            self.0.push(frames.iter().map(|frame| frame.to_vec()).collect());
        }
    }

    #[test]
    fn frames_come_in_groups_and_in_order() {
        let mut stream = b"\0\0\0\0\0\0\0\x04\0\0\0\x04".to_vec();
        stream.extend_from_slice(b"\0\0\0\0\0\0\0\x04\0\0\0\x02");
        for frame in 0..40 {
            stream.extend_from_slice(&[0, 0, 0, 2, frame, 7]);
        }
        let (mut reader, mut places, mut groups) = (Reader::default(), Vec::new(), Groups::default());
        let ready = reader.pass(&stream, &mut places).consumed;
        reader.pass(&stream[ready..], &mut places);
        hand_over(&stream[ready..], &places, &mut groups);
        assert_eq!(groups.0.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
        assert!(groups.0.concat().into_iter().eq((0..40).map(|frame| vec![frame, 7])));
    }
}
