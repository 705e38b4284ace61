//! The real program in a process of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::load::{LIST, SECRET};
use super::support::broker::port::free_port;
use super::support::broker::soon;
use super::support::core::Core;
use super::support::{Files, Resolver, Running, get, until};

pub(super) struct Program {
    folder: TempDir,
    http: u16,
    running: Running,
}

impl Program {
    /// With everything switched on that could tell of clients.
    pub(super) async fn start(core: &Core, aggregates: &str) -> Self {
        let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
        let files = Files::of(folder.path(), http);
        std::fs::create_dir(files.config()).unwrap();
        files.write_list(&LIST);
        let text = format!(
            "format = 2\ninput-unix = \"{}\"\nhttp-listen = \"127.0.0.1:{http}\"\ndata-dir = \"{}\"\n\
             well-known-domains-file = \"well-known-domains.dawg\"\n\
             http-url = \"{aggregates}\"\n\
             http-ca-file = \"ca.crt\"\n\
             enable-manual-parquet-rotation = true\n\
             disable-session-files = false\n\
             telemetry = true\n\
             newqname-per-second = 1000000\n\
             newqname-per-domain = 1000000\n\
             debug = true\n",
            files.socket().display(),
            folder.path().display()
        );
        files.write("edm.toml", text.as_bytes());
        files.write("cryptopan.key", SECRET.as_bytes());
        core.identity(&files);
        // Where the machine lets a process leave its memory behind, this one shall.
        let child = Command::new("sh")
            .args([
                "-c",
                "ulimit -c unlimited 2>/dev/null; exec \"$@\"",
                "sh",
                env!("CARGO_BIN_EXE_tapir-edm"),
                "run",
                "--config-file",
            ])
            .arg(files.config().join("edm.toml"))
            .current_dir(folder.path())
            .env_remove("RUST_LOG")
            .env("TAPIR_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .stdout(std::fs::File::create(folder.path().join("stdout")).unwrap())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { folder, http, running: Running(child) }
    }

    /// Connected to Core, with its list and the key of pseudonyms.
    pub(super) async fn become_ready(&self) {
        until("connection and list", async || {
            let status: serde_json::Value = serde_json::from_str(&self.get("/status").await).unwrap_or_default();
            assert!(status["config"]["error"].is_null(), "{}", status["config"]["error"]);
            let has_key = status["edm"]["sessions"]["key"] == true;
            status["core"]["connected"] == true && status["edm"]["wellKnownDomains"] == LIST.len() && has_key
        })
        .await;
    }

    pub(super) async fn connect(&self) -> Resolver {
        Resolver::connect(&self.files().socket()).await
    }

    /// Says something that is no handshake.
    pub(super) async fn lie(&self, lie: &[u8]) {
        let mut liar = Resolver::connect_only(&self.files().socket()).await;
        liar.stream.write_all(lie).await.unwrap();
        liar.closed().await;
    }

    pub(super) async fn get(&self, path: &str) -> String {
        get(self.http, path).await
    }

    /// Ends the minute.
    pub(super) async fn rotate(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).await.unwrap();
        let request = "POST /debug/rotate-parquet HTTP/1.1\r\nHost: edm\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }

    /// Its list is none any more.
    pub(super) fn spoil_list(&self) {
        self.files().write("well-known-domains.dawg", b"no list");
    }

    /// Where it keeps what it keeps.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn files(&self) -> Files {
        Files::of(self.folder.path(), self.http)
    }

    /// In order; its folder, and everything that it said.
    pub(super) async fn stop(self) -> (TempDir, Vec<u8>) {
        self.end(Signal::SIGTERM).await
    }

    /// As if it had done something that it may not.
    pub(super) async fn crash(self) -> (TempDir, Vec<u8>) {
        self.end(Signal::SIGABRT).await
    }

    async fn end(self, signal: Signal) -> (TempDir, Vec<u8>) {
        let Self { folder, mut running, .. } = self;
        kill(Pid::from_raw(i32::try_from(running.0.id()).unwrap()), signal).unwrap();
        let status = soon("end", tokio::task::spawn_blocking(move || running.0.wait().unwrap())).await.unwrap();
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
        let said = ["stdout", "stderr"].map(|name| std::fs::read(folder.path().join(name)).unwrap()).concat();
        (folder, said)
    }
}
