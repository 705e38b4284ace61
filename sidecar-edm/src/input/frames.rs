//! Frames between the readers and the worker: bounded in number and in octets, never waited for.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Frames that wait at most. A worker takes some microseconds for each, so this is about 20 ms of work.
const MAX_FRAMES: usize = 4096;
/// Octets that wait at most: room for every frame at its usual 200 octets, and for 85 of the longest ones.
const MAX_OCTETS: usize = 8 * 1024 * 1024;

/// A frame, and its share of the bound in octets until it is dropped.
#[derive(Debug)]
pub struct QueuedFrame {
    /// Payload of the data frame.
    pub payload: Bytes,
    _share: OwnedSemaphorePermit,
}

/// The readers' side.
#[derive(Clone, Debug)]
pub struct FrameQueue {
    frames: Sender<QueuedFrame>,
    octets: Arc<Semaphore>,
}

/// The worker's side.
pub type Frames = Receiver<QueuedFrame>;

/// A queue with both sides.
#[must_use]
pub fn frame_queue() -> (FrameQueue, Frames) {
    let (frames, receiver) = channel(MAX_FRAMES);
    (FrameQueue { frames, octets: Arc::new(Semaphore::new(MAX_OCTETS)) }, receiver)
}

impl FrameQueue {
    /// Adds a frame if there is room; tells whether there was.
    pub fn offer(&self, payload: Bytes) -> bool {
        let share =
            u32::try_from(payload.len()).ok().and_then(|octets| Arc::clone(&self.octets).try_acquire_many_owned(octets).ok());
        share.is_some_and(|share| self.frames.try_send(QueuedFrame { payload, _share: share }).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_in_number() {
        let (queue, mut frames) = frame_queue();
        let taken = (0..2 * MAX_FRAMES).filter(|_| queue.offer(Bytes::from_static(b"frame"))).count();
        assert_eq!(taken, MAX_FRAMES);
        drop(frames.try_recv().unwrap());
        assert!(queue.offer(Bytes::from_static(b"frame")));
    }

    #[test]
    fn is_bounded_in_octets() {
        let (queue, mut frames) = frame_queue();
        let long = Bytes::from(vec![0; 96 * 1024]);
        let taken = (0..1000).filter(|_| queue.offer(long.clone())).count();
        assert_eq!(taken, MAX_OCTETS / (96 * 1024));
        drop(frames.try_recv().unwrap());
        assert!(queue.offer(long));
    }
}
