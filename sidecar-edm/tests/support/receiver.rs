//! A receiver of aggregates that answers as a script says and keeps what it got.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a request meets; 201 when the script is at its end.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// An answer of this status, with a line as its body.
    Status(u16),
    /// 201 with a location that cannot be parsed.
    StrangeLocation,
    /// 201 whose body breaks off.
    BreaksOff,
    /// The connection ends without an answer.
    Close,
    /// 201, and the connection ends before the next request.
    AnswerAndClose,
    /// Nothing ever comes.
    Silence,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    /// In lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Which of the connections, from 0.
    pub connection: usize,
}

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    requests: Vec<Request>,
    open: usize,
    connections: usize,
}

#[derive(Clone)]
pub struct Receiver {
    state: Arc<Mutex<State>>,
    pub port: u16,
}

impl Receiver {
    pub async fn start(script: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { script: script.iter().copied().collect(), ..State::default() };
        let this = Self { state: Arc::new(Mutex::new(state)), port };
        let shared = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let number = {
                    let mut state = shared.state.lock().unwrap();
                    (state.open, state.connections) = (state.open + 1, state.connections + 1);
                    state.connections - 1
                };
                tokio::spawn(async move {
                    let _ = shared.serve(stream, number).await;
                    shared.state.lock().unwrap().open -= 1;
                });
            }
        });
        this
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/base", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.state.lock().unwrap().open
    }

    /// Waits for so many requests.
    pub async fn received(&self, count: usize) -> Vec<Request> {
        until("requests", || self.requests().len() >= count).await;
        self.requests()
    }

    async fn serve(&self, stream: TcpStream, connection: usize) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let mut headers = BTreeMap::new();
            loop {
                let mut header = String::new();
                stream.read_line(&mut header).await?;
                let Some((name, value)) = header.trim_end().split_once(": ") else { break };
                assert!(headers.insert(name.to_lowercase(), value.to_owned()).is_none(), "{name} twice");
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            stream.read_exact(&mut body).await?;
            let act = {
                let mut state = self.state.lock().unwrap();
                state.requests.push(Request { line: line.trim_end().to_owned(), headers, body, connection });
                state.script.pop_front().unwrap_or(Act::Status(201))
            };
            let answer = match act {
                Act::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 6\r\n\r\nbecaus"),
                Act::StrangeLocation => "HTTP/1.1 201 X\r\nLocation: ::\x01%\r\nContent-Length: 0\r\n\r\n".replace('\x01', "\t"),
                Act::BreaksOff => "HTTP/1.1 201 X\r\nContent-Length: 6\r\n\r\nbe".to_owned(),
                Act::AnswerAndClose => "HTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Act::Close => String::new(),
                Act::Silence => {
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).await?;
                    return Ok(());
                }
            };
            stream.get_mut().write_all(answer.as_bytes()).await?;
            if matches!(act, Act::BreaksOff | Act::Close | Act::AnswerAndClose) {
                return Ok(());
            }
        }
    }
}

/// Waits for a condition.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
