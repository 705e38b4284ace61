//! A receiver of aggregates in the clear, which does what it is told to and remembers what it was sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How it treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers with this status.
    Answers(u16),
    /// Takes the request, and says nothing while it is in this mood.
    Silent,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Got {
    /// When, and what it met.
    pub(super) requests: Vec<(Instant, Mood)>,
    /// Content-Digest of each file that was taken, and how often.
    pub(super) taken: BTreeMap<String, u32>,
    /// Of them, those that do not begin and end as Parquet does.
    pub(super) torn: u64,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    got: Got,
}

#[derive(Debug)]
pub(super) struct Receiver {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Receiver {
    /// In a good mood.
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening for aggregates")?;
        let port = listener.local_addr().context("listening for aggregates")?.port();
        let state = Arc::new(Mutex::new(State { mood: Mood::Answers(201), got: Got::default() }));
        let shared = Arc::clone(&state);
        // They end with the bench.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Ok(Self { state, port })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn is_now(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    /// Everything since this was last asked.
    pub(super) fn take(&self) -> Got {
        std::mem::take(&mut lock(&self.state).got)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until the connection ends, which is no error.
fn serve(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut digest) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            match lower.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
                // As it was written: it is case-sensitive.
                Some(("content-digest", _)) => digest = line.trim_end().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let mood = {
            let mut state = lock(state);
            let mood = state.mood;
            state.got.requests.push((Instant::now(), mood));
            if mood == Mood::Answers(201) {
                *state.got.taken.entry(digest).or_insert(0) += 1;
                state.got.torn += u64::from(!is_parquet(&body));
            }
            mood
        };
        let Mood::Answers(status) = mood else {
            while lock(state).mood == Mood::Silent {
                thread::sleep(Duration::from_millis(50));
            }
            // The connection ends without an answer.
            return Ok(());
        };
        stream.get_mut().write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
    }
}

/// Begins and ends with the mark (Parquet, "File Format").
pub(super) fn is_parquet(octets: &[u8]) -> bool {
    octets.len() > 12 && octets.starts_with(b"PAR1") && octets.ends_with(b"PAR1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(port: u16, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request =
            format!("POST / HTTP/1.1\r\nContent-Digest: sha-256=:{body}:\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_does_what_it_is_told_to() {
        let receiver = Receiver::start().unwrap();
        assert!(post(receiver.port, "PAR1 and some more PAR1").starts_with("HTTP/1.1 201 "));
        assert!(post(receiver.port, "PAR1 and some more").starts_with("HTTP/1.1 201 "));
        receiver.is_now(Mood::Answers(503));
        assert!(post(receiver.port, "x").starts_with("HTTP/1.1 503 "));
        let got = receiver.take();
        assert_eq!((got.requests.len(), got.taken.len(), got.torn), (3, 2, 1));
        receiver.is_now(Mood::Silent);
        let (port, asked) = (
            receiver.port,
            thread::spawn({
                let port = receiver.port;
                move || post(port, "y")
            }),
        );
        while receiver.take().requests.is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        receiver.is_now(Mood::Answers(201));
        assert_eq!(asked.join().unwrap(), "");
        assert!(post(port, "z").starts_with("HTTP/1.1 201 "));
    }
}
