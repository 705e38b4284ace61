//! Whatever panics, the process ends and says so: as half of what it was it would be of no use, and nobody would start it anew.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use tokio::runtime::Builder;

use super::*;
use crate::state::failpoint;

/// Folder and what panics, for the process that runs [`alone`].
const TOLD: [&str; 2] = ["TAPIR_TEST_FOLDER", "TAPIR_TEST_PANIC"];
/// What a busy machine may take for a start.
const PATIENCE: Duration = Duration::from_secs(120);

fn configure(folder: &Path) {
    let address = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (listen, http): (SocketAddr, SocketAddr) = (address(), address());
    let text = format!(
        "format: 2\nlisten: '{listen}'\nhttpListen: '{http}'\ndataDir: {}\nsources:\n- {{name: core, list: Doubt, core: {{}}}}\n\
         - {{name: own, list: Deny, file: {{path: own, format: Csv, column: 1, header: false}}}}\n",
        folder.join("state").display()
    );
    // Apart from the log: it is watched.
    let config = folder.join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("pop.yaml"), text).unwrap();
    fs::write(config.join("own"), "evil.example\n").unwrap();
}

fn start(folder: &Path, what: &str) -> Child {
    configure(folder);
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "app::panic_tests::alone", "--ignored", "--nocapture"]);
    command.env(TOLD[0], folder).env(TOLD[1], what).stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
#[ignore = "is run by the other one, in a process of its own"]
fn alone() {
    let [Ok(folder), Ok(what)] = TOLD.map(std::env::var) else { return };
    let folder = Path::new(&folder);
    let options = Options { config_file: folder.join("config/pop.yaml"), upstream_config: None, state_dir: folder.join("state") };
    let code = tapir_runtime::process::run("tapir-pop", &mut Builder::new_multi_thread(), |shutdown| {
        if what == "thread" {
            let thread = std::thread::Builder::new().name("verifier-1".to_owned());
            thread.spawn(|| panic!("a thread that nobody waits for")).unwrap();
        } else {
            failpoint::explode(what);
        }
        run(options, shutdown)
    });
    // What a test returns would be another one.
    std::process::exit(if code == ExitCode::FAILURE { 77 } else { 1 });
}

/// Of the engine, the scribe, the builder, the keeper of the configuration, and one that nobody waits for.
#[test]
fn whatever_panics_ends_the_process() {
    let parts = ["/obs/core/", "/serial", "/zone/base-", "/last-good-pop", "thread"];
    let started = parts.map(|what| {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), what);
        (what, folder, child)
    });
    let end = Instant::now() + PATIENCE;
    for (what, folder, mut child) in started {
        let log = || fs::read_to_string(folder.path().join("log")).unwrap();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if Instant::now() > end {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{what}: the process goes on: {}", log());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let log = log();
        assert_eq!(code, Some(77), "{what}: {log}");
        assert!(log.contains("\"message\":\"panic\""), "{what}: {log}");
        assert!(log.contains("stopping the process"), "{what}: {log}");
    }
}
