//! The least that a reader of frames can do: it reads, finds each frame, and does nothing with it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow, bail};

use super::resolver::{ACCEPT, FINISH, READY, START, expect};

/// As large as EDM's largest.
const BUFFER: usize = 128 << 10;
const LENGTH: usize = 4;

/// What it saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) frames: u64,
    /// Processor time in seconds, that of the kernel for it included.
    pub(super) processor: f64,
}

/// Listens for one connection, and serves it on a thread of its own.
#[derive(Debug)]
pub(super) struct Bare(JoinHandle<Result<Seen>>);

impl Bare {
    pub(super) fn listen(socket: &Path) -> Result<Self> {
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).context("listening as a bare reader")?;
        Ok(Self(thread::spawn(move || serve(&listener))))
    }

    pub(super) fn seen(self) -> Result<Seen> {
        self.0.join().map_err(|_| anyhow!("the bare reader panicked"))?
    }
}

fn serve(listener: &UnixListener) -> Result<Seen> {
    let (mut stream, _) = listener.accept().context("accepting")?;
    expect(&mut stream, READY)?;
    stream.write_all(ACCEPT).context("greeting")?;
    expect(&mut stream, START)?;
    let began = processor()?;
    let (mut buffer, mut held, mut frames) = (vec![0; BUFFER], 0, 0);
    loop {
        let read = stream.read(buffer.get_mut(held..).unwrap_or_default()).context("reading frames")?;
        if read == 0 {
            bail!("the frames end without STOP, after {frames}");
        }
        held += read;
        let mut at = 0;
        while let Some(length) = length_at(&buffer, at, held) {
            if length == 0 {
                let processor = processor()? - began;
                stream.write_all(FINISH).context("taking leave")?;
                return Ok(Seen { frames, processor });
            }
            let end = at + LENGTH + length;
            if end > held {
                break;
            }
            (at, frames) = (end, frames + 1);
        }
        buffer.copy_within(at..held, 0);
        held -= at;
    }
}

fn length_at(buffer: &[u8], at: usize, held: usize) -> Option<usize> {
    buffer.get(at..held)?.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
}

/// Of this thread so far, in seconds.
fn processor() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("reading this thread's processor time")?;
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).context("strange schedstat")?;
    Ok(nanoseconds / 1e9)
}

#[cfg(test)]
mod tests {
    use super::super::resolver::Resolver;
    use super::super::traffic::Traffic;
    use super::*;

    #[test]
    fn all_frames_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let (mut traffic, _) = Traffic::new(100);
        let stream = traffic.frames(10_000, None);
        let bare = Bare::listen(&socket).unwrap();
        let mut resolver = Resolver::connect(&socket).unwrap();
        resolver.send(&stream.octets).unwrap();
        resolver.finish().unwrap();
        let seen = bare.seen().unwrap();
        assert!(seen.frames == 10_000 && seen.processor > 0.0);
    }
}
