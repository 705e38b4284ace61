//! One connection, shared by the thread that it belongs to and the one that stands in when that thread is busy for too long.
//!
//! What is worked on is not in here: a turn takes the buffer with the frames away and leaves another one. So whoever has the lock finds the
//! session as it is after the last octet that was read, and can go on from there.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::Limits;
use super::buffer::Buffer;
use super::counts::Counts;
use super::end::End;
use super::peer::{Peer, Socket, end_of};
use super::reader::{Next, Phase, Place, Reader};
use super::suspects::{Seen, Worker};

/// Reads of somebody who stands in, until another connection has its turn.
const READS_AT_ONCE: usize = 64;

/// What one turn has brought.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) buffer: Buffer,
    pub(super) places: Vec<Place>,
}

#[derive(Debug)]
pub(super) struct Line {
    inner: Mutex<Inner>,
    /// For those who must not wait for the lock.
    socket: Socket,
    begun: Instant,
    /// Since when the frames of a turn are being worked on, in microseconds from the beginning and one; zero while they are not.
    busy_since: AtomicU64,
    /// Who works on them.
    worker: OnceLock<Option<Worker>>,
    /// When to give up although octets still come, likewise. Set when everything ends.
    give_up: AtomicU64,
    limits: Limits,
    counts: Counts,
}

#[derive(Debug)]
struct Inner {
    peer: Peer,
    reader: Reader,
    buffer: Buffer,
    /// For the frame of the handshake that is due; none while data flows.
    deadline: Option<Instant>,
    end: Option<End>,
}

impl Line {
    pub(super) fn new(socket: Socket, tls: Option<Arc<ServerConfig>>, limits: Limits, counts: &Counts) -> Result<Self, End> {
        let begun = Instant::now();
        socket.prepare().map_err(|_| End::Broken)?;
        let other = socket.try_clone().map_err(|_| End::Failed)?;
        let inner = Inner {
            peer: Peer::new(socket, tls)?,
            reader: Reader::default(),
            buffer: Buffer::default(),
            deadline: Some(begun + limits.handshake),
            end: None,
        };
        let counts = counts.clone();
        let (busy_since, give_up) = (AtomicU64::new(0), AtomicU64::new(0));
        let worker = OnceLock::new();
        Ok(Self { inner: Mutex::new(inner), socket: other, begun, busy_since, worker, give_up, limits, counts })
    }

    /// This thread is the one that it belongs to.
    pub(super) fn worked_on_here(&self) {
        let _ = self.worker.set(Worker::this());
    }

    /// What the kernel says of that thread.
    pub(super) fn worker_seen(&self) -> Option<Seen> {
        self.worker.get()?.as_ref()?.seen()
    }

    /// What comes before the first frame.
    pub(super) fn shake_hands(&self) -> Result<(), End> {
        let mut inner = self.lock();
        let outcome = inner.peer.shake_hands(Instant::now() + self.limits.handshake);
        inner.deadline = Some(Instant::now() + self.limits.handshake);
        if self.is_ending() { outcome.map_err(|_| End::Shutdown) } else { outcome }
    }

    /// Waits for frames, and takes all that came. Tells when there will be no more.
    pub(super) fn turn(&self, turn: &mut Turn) -> Option<End> {
        let mut inner = self.lock();
        turn.places.clear();
        loop {
            let mut end = inner.end;
            let mut consumed = 0;
            if end.is_none() {
                let (pass, over) = self.pass(&mut inner, &mut turn.places);
                (consumed, end) = (pass, over);
                inner.end = end;
            }
            if !turn.places.is_empty() || end.is_some() {
                self.counts.frames.inc_by(turn.places.len() as u64);
                inner.buffer.exchange(&mut turn.buffer, consumed);
                self.busy_since.store(self.elapsed(Instant::now()), Ordering::Release);
                return end;
            }
            inner.buffer.consume(consumed);
            // An answer was sent: what follows may be here already.
            if consumed > 0 && !inner.buffer.unread().is_empty() {
                continue;
            }
            if let Err(end) = self.read(&mut inner) {
                inner.end = Some(end);
            }
        }
    }

    /// The frames of the last turn are done with.
    pub(super) fn done(&self) {
        let since = self.busy_since.swap(0, Ordering::AcqRel);
        let now = Instant::now();
        self.counts.lag.paused(now, Duration::from_micros(self.elapsed(now).saturating_sub(since)));
    }

    /// Since when there is work on frames that takes longer than the other end may have to wait; none while there is no such work.
    pub(super) fn stuck_since(&self) -> Option<u64> {
        let since = self.busy_since.load(Ordering::Acquire);
        let is_stuck = since > 0 && self.elapsed(Instant::now()).saturating_sub(since) > micros(self.limits.stuck);
        is_stuck.then_some(since)
    }

    /// Reads what has come and drops its frames, without waiting for anything.
    pub(super) fn drain(&self) {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Its own thread may just have come back; it will read by itself.
        if inner.end.is_some() || self.stuck_since().is_none() || inner.peer.set_nonblocking(true).is_err() {
            return;
        }
        let mut dropped = Vec::new();
        for _ in 0..READS_AT_ONCE {
            let (consumed, end) = self.pass(&mut inner, &mut dropped);
            inner.buffer.consume(consumed);
            self.counts.frames.inc_by(dropped.len() as u64);
            self.counts.frames_dropped.inc_by(dropped.len() as u64);
            inner.end = end;
            if end.is_some() {
                self.socket.shut(Shutdown::Both);
                break;
            }
            let were_some = !dropped.is_empty();
            dropped.clear();
            if were_some {
                continue;
            }
            match self.read(&mut inner) {
                Ok(()) => {}
                // Nothing more, for now.
                Err(End::Idle) => break,
                Err(end) => {
                    inner.end = Some(end);
                    break;
                }
            }
        }
        if inner.peer.set_nonblocking(false).is_err() {
            inner.end = Some(End::Broken);
        }
    }

    /// No more is to be received; what has been received is still read, for so long.
    pub(super) fn stop(&self, grace: Duration) {
        self.give_up.store(self.elapsed(Instant::now() + grace), Ordering::Release);
        self.socket.shut(Shutdown::Read);
    }

    /// Says farewell.
    pub(super) fn close(&self) {
        self.lock().peer.close(Instant::now() + self.limits.handshake);
        self.socket.shut(Shutdown::Both);
    }

    /// Finds the frames in what was read, and answers what is to be answered. Tells what is done with, and whether this is the end.
    fn pass(&self, inner: &mut Inner, places: &mut Vec<Place>) -> (usize, Option<End>) {
        let before = inner.reader.phase();
        let pass = inner.reader.pass(inner.buffer.unread(), places);
        let end = match pass.next {
            Next::More | Next::Again => None,
            Next::Send(octets) => inner.peer.write(octets, Instant::now() + self.limits.handshake).err(),
            Next::Finish(octets) => match inner.peer.write(octets, Instant::now() + self.limits.handshake) {
                // Everything was read: a sender that does not wait for the answer (unbound 1.17) has finished all the same.
                Ok(()) | Err(End::Broken) => Some(End::Finished),
                Err(end) => Some(end),
            },
            Next::Refuse(refused) => {
                tracing::debug!(error = %refused, "dnstap connection violates the protocol");
                Some(End::Protocol)
            }
        };
        // The next frame of the handshake has its own time; octets of an unfinished one do not prolong it.
        if inner.reader.phase() != before {
            let is_data = inner.reader.phase() == Phase::Data;
            inner.deadline = (!is_data).then(|| Instant::now() + self.limits.handshake);
            if is_data && inner.peer.set_patience(self.limits.idle.filter(|idle| !idle.is_zero())).is_err() {
                return (pass.consumed, Some(End::Broken));
            }
        }
        (pass.consumed, end)
    }

    fn read(&self, inner: &mut Inner) -> Result<(), End> {
        let give_up = self.give_up.load(Ordering::Acquire);
        if give_up > 0 && self.elapsed(Instant::now()) >= give_up {
            return Err(End::Shutdown);
        }
        let Inner { peer, reader, buffer, deadline, .. } = inner;
        let late = if reader.phase() == Phase::Data { End::Idle } else { End::HandshakeTimeout };
        match peer.read(buffer.space(), *deadline) {
            Ok(0) if self.is_ending() => Err(End::Shutdown),
            Ok(0) if reader.at_boundary() && buffer.unread().is_empty() => Err(End::Closed),
            Ok(0) => Err(End::Cut),
            Ok(count) => {
                self.counts.reads.inc();
                self.counts.octets.inc_by(count as u64);
                if buffer.filled(count) {
                    self.counts.full_reads.inc();
                    self.counts.lag.waiting(Instant::now(), peer.waiting());
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(end_of(&error, late)),
        }
    }

    fn is_ending(&self) -> bool {
        self.give_up.load(Ordering::Acquire) > 0
    }

    /// Microseconds from the beginning, never zero.
    fn elapsed(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.begun)) + 1
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2)
}
