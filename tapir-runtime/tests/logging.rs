//! Logs as a process writes them. The child is this test program itself, because a process has one logger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tapir_runtime::http::{HttpLimits, HttpState, Probe, serve_with};
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::{logging, metrics};
use tokio::sync::watch;

const CHILD: &str = "TAPIR_TEST_LOGGING_CHILD";
const PATIENCE: Duration = Duration::from_secs(120);

/// Some of these fill any pipe and every queue of ours: 100 000 lines of at least 100 octets.
const MANY: u64 = 100_000;

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn child_of(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env_remove("RUST_LOG")
        .env_remove("TAPIR_LOG")
        .env_remove("RUST_BACKTRACE");
    command
}

/// What lies beside the lines of the test program.
fn records(output: &str) -> Vec<Value> {
    let lines = output.lines().filter_map(|line| line.find('{').map(|start| &line[start..]));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_are_json_and_the_first_tells_the_version() {
    if is_child() {
        let _last_lines = logging::init("tapir-edm");
        let _again = logging::init("again");
        tracing::info!(frames = 3, "frames taken");
        tracing::debug!("details");
        return;
    }
    let records = |level: Option<&str>| {
        let mut command = child_of("lines_are_json_and_the_first_tells_the_version");
        if let Some(level) = level {
            command.env("TAPIR_LOG", level);
        }
        records(&String::from_utf8(command.output().unwrap().stdout).unwrap())
    };
    let plain = records(None);
    assert_eq!(plain.len(), 2, "{plain:?}");
    assert_eq!((&plain[0]["message"], &plain[0]["component"]), (&"starting".into(), &"tapir-edm".into()));
    assert_eq!((&plain[0]["version"], &plain[0]["commit"]), (&tapir_version::VERSION.into(), &tapir_version::COMMIT.into()));
    assert_eq!(
        (&plain[1]["message"], &plain[1]["frames"], &plain[1]["level"]),
        (&"frames taken".into(), &3.into(), &"INFO".into())
    );
    assert_eq!(records(Some("debug")).len(), 3);
    assert_eq!(records(Some("warn")).len(), 0);
    assert_eq!(records(Some("no=such=level")).len(), 2);
}

#[test]
fn a_panic_is_a_line_of_the_log_and_quotes_nobody() {
    if is_child() {
        let _last_lines = logging::init("tapir-edm");
        let secret = std::env::var(CHILD).unwrap();
        let _ = std::thread::spawn(move || panic!("secret {secret}")).join();
        // As the last thing of the process, and not one that unwinding would reach the end of `main` after.
        let _ = std::thread::spawn(|| {
            panic!("fixed text");
        })
        .join();
        std::process::abort();
    }
    let (text, panics) = (0..5)
        .map(|_| {
            let output = child_of("a_panic_is_a_line_of_the_log_and_quotes_nobody").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(!text.contains("secret") && !String::from_utf8(output.stderr).unwrap().contains("secret"), "{text}");
            let panics: Vec<Value> = records(&text).into_iter().filter(|record| record["message"] == "panic").collect();
            (text, panics)
        })
        // A tenth of a second is all that the last words get, which a busy machine may need for other things.
        .find(|(_, panics)| panics.len() == 2)
        .expect("two panics in the log");
    assert!(panics.iter().all(|panic| panic["level"] == "ERROR" && panic["place"].as_str().unwrap().contains("logging.rs:")));
    assert_eq!((&panics[0]["reason"], &panics[1]["reason"]), (&Value::Null, &"fixed text".into()));
    assert!(!text.contains("secret"), "{text}");
}

/// A sidecar that serves HTTP and logs more than anybody could hold.
struct Talker;

impl Probe for Talker {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }
    fn ready(&self) -> Result<(), String> {
        for number in 0..MANY {
            tracing::info!(number, "a line, and with what stands in front and behind it has a hundred octets");
        }
        Ok(())
    }
    fn status(&self) -> Value {
        Value::Null
    }
    fn metrics(&self) -> String {
        metrics::render(&metrics::registry("tapir_test"))
    }
}

async fn talk(address_file: &Path) {
    let (_, shutdown) = Shutdown::manual();
    let (sender, mut state) = watch::channel(HttpState::default());
    let (_wanted, listen) = watch::channel(SocketAddr::from(([127, 0, 0, 1], 0)));
    let limits = HttpLimits { connection_time: PATIENCE, ..HttpLimits::default() };
    let server = tokio::spawn(serve_with(listen, Arc::new(Talker), sender, shutdown, limits));
    let address = state.wait_for(|state| state.bound.is_some()).await.unwrap().bound.unwrap();
    let aside = address_file.with_extension("aside");
    std::fs::write(&aside, address.to_string()).unwrap();
    std::fs::rename(&aside, address_file).unwrap();
    server.await.unwrap();
}

struct Running {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn get(&self, path: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let address = loop {
            if let Ok(address) = std::fs::read_to_string(self.folder.path().join("address")) {
                break address;
            }
            assert!(Instant::now() < end, "the child opened no port");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("no answer to {path}: {error}"));
        answer
    }

    fn dropped(&self) -> u64 {
        let metrics = self.get("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix("tapir_test_log_lines_dropped_total "));
        value.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    }
}

#[test]
fn a_reader_that_stalls_stops_nobody_and_is_told_what_it_missed() {
    if is_child() {
        let _last_lines = logging::init("tapir-edm");
        // One thread: nothing else could answer while it waits for a reader.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address_file = std::env::var_os(CHILD).unwrap();
        return runtime.block_on(talk(Path::new(&address_file)));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = child_of("a_reader_that_stalls_stops_nobody_and_is_told_what_it_missed");
    let child = command.env(CHILD, folder.path().join("address")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running { child, folder };
    assert!(running.get("/livez").starts_with("HTTP/1.1 200 "));
    assert_eq!(running.dropped(), 0);
    assert!(running.get("/readyz").starts_with("HTTP/1.1 200 "), "all these lines cost the answer nothing");
    assert!(running.get("/livez").starts_with("HTTP/1.1 200 "));
    let dropped = running.dropped();
    assert!((MANY / 2..MANY).contains(&dropped), "{dropped} of {MANY}");

    // Now somebody reads: whole lines, and what was lost, not told for each line.
    let output = BufReader::new(running.child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let (mut told, mut reports) = (0, 0);
    while told < dropped {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        for record in records(&line).iter().filter(|record| record["level"] == "WARN") {
            told += record["lines"].as_u64().unwrap();
            reports += 1;
        }
    }
    assert!(reports < 10, "{reports}");
    assert_eq!((told, running.dropped()), (dropped, dropped));
}
