//! An EDM in a process of its own, with an identity of the dev Core, and a resolver that speaks to it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tapir_edm::config::ConfigFile;
use tapir_edm::run::{Options, run};
use tapir_wire::dawg;

use super::running::{PATIENCE, Running};

/// Folder and what it is to do, in the environment of the other process.
const TOLD: [&str; 2] = ["TAPIR_TEST_EDM", "TAPIR_TEST_EDM_PANIC"];

/// Becomes an EDM if the environment says so, and never comes back then.
pub fn run_if_told() {
    let [folder, panic] = TOLD.map(std::env::var);
    let Ok(folder) = folder else { return };
    let options = Options::new(ConfigFile::new(Path::new(&folder).join("config/edm.toml")), Some("x1".to_owned()));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let code = tapir_runtime::process::run("tapir-edm", &mut runtime, |shutdown| {
        if panic.is_ok() {
            std::thread::Builder::new().name("dnstap".to_owned()).spawn(|| panic!("as the test wants it")).unwrap();
        }
        run(options, shutdown)
    });
    // What a test returns would be another one.
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

pub struct Minimiser {
    folder: tempfile::TempDir,
    http: u16,
    child: RefCell<Option<Child>>,
}

impl Minimiser {
    /// Everything that it needs, of a node that was enrolled just now.
    pub async fn prepare(core: &Running, node: &str) -> Self {
        let edge = core.enrol(node).await;
        let folder = tempfile::tempdir().unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let write = |name: &str, octets: &[u8]| {
            let path = folder.path().join("config").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, octets).unwrap();
        };
        write("tls.crt", edge.chain().as_bytes());
        write("tls.key", edge.tls_key.pem().as_bytes());
        write("ca.crt", edge.answer.certificate.x509_ca_certificate.as_ref().unwrap().as_bytes());
        write("datakey.jwk", edge.data_key.to_jwk().as_bytes());
        write("core.crt", core.pki.web_ca_certificate.as_bytes());
        let aggrec = core.aggrec("/");
        let document = serde_json::json!({"format": 1, "name": node, "mqttBroker": "mqtts://localhost:1", "aggrecUrl": aggrec});
        write("node.json", document.to_string().as_bytes());
        write("list.dawg", &dawg::compile([".known.example.", "known.example."]).unwrap());
        let place = folder.path().display();
        let text = format!(
            "format = 2\ninput-unix = \"{place}/run/dnstap.sock\"\nhttp-listen = \"127.0.0.1:{http}\"\ndata-dir = \"{place}/data\"\n\
             well-known-domains-file = \"list.dawg\"\nhttp-ca-file = \"core.crt\"\nenable-manual-parquet-rotation = true\n"
        );
        write("edm.toml", text.as_bytes());
        Self { folder, http, child: RefCell::default() }
    }

    pub async fn start(core: &Running, node: &str) -> Self {
        let edm = Self::prepare(core, node).await;
        edm.start_again();
        edm
    }

    pub fn start_again(&self) {
        self.spawn(&[]);
        self.until("a listening socket", || UnixStream::connect(self.socket()).is_ok());
    }

    pub fn start_panicking(&self) {
        self.spawn(&[TOLD[1]]);
    }

    fn spawn(&self, told: &[&str]) {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_other_process", "--nocapture"]).env(TOLD[0], self.folder.path());
        command.envs(told.iter().map(|name| (*name, "1")));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        assert!(self.child.replace(Some(child)).is_none(), "one at a time");
    }

    pub fn end(&self, signal: Signal) -> ExitStatus {
        let child = self.child.borrow().as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(child).unwrap()), signal).unwrap();
        self.ended()
    }

    pub fn ended(&self) -> ExitStatus {
        let mut status = None;
        self.until("the end of the process", || {
            status = self.child.borrow_mut().as_mut().unwrap().try_wait().unwrap();
            status.is_some()
        });
        self.child.replace(None);
        status.unwrap()
    }

    /// Ends a minute. False when it is too late for that.
    pub fn rotate(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.http)) else { return false };
        let mut answer = String::new();
        let asked = stream.write_all(b"POST /debug/rotate-parquet HTTP/1.1\r\nHost: edm\r\nContent-Length: 0\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 202 ")
    }

    /// What waits to be sent.
    pub fn files(&self) -> Vec<PathBuf> {
        self.list("outbox")
    }

    /// How many files Core has, as far as this one knows.
    pub fn sent(&self) -> usize {
        self.list("sent").len()
    }

    fn list(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.folder.path().join("data/parquet/histograms").join(folder);
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/dnstap.sock")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "waited in vain for {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Minimiser {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The resolver's end of a dnstap connection.
pub struct Resolver(UnixStream);

impl Resolver {
    pub fn connect(socket: &Path) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&control(4)).unwrap();
        let mut accepted = vec![0; control(1).len()];
        stream.read_exact(&mut accepted).unwrap();
        assert_eq!(accepted, control(1));
        stream.write_all(&control(2)).unwrap();
        Self(stream)
    }

    /// Tells of an answer to a client.
    pub fn answered(&mut self, name: &str, client: [u8; 4]) {
        let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.extend_from_slice(&[0, 0, 1, 0, 1]);
        let inner = [&[0x08, 6, 0x22, 4], client.as_slice(), &[0x72, message.len() as u8], &message].concat();
        let frame = [&[0x72, inner.len() as u8], inner.as_slice(), &[0x78, 1]].concat();
        assert!(frame.len() < 128);
        self.0.write_all(&[&(frame.len() as u32).to_be_bytes(), frame.as_slice()].concat()).unwrap();
    }
}

/// READY, ACCEPT and START, for dnstap.
fn control(number: u8) -> Vec<u8> {
    const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
    [&[0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, number, 0, 0, 0, 1, 0, 0, 0, 22], CONTENT_TYPE].concat()
}
