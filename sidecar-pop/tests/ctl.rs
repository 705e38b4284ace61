//! A running POP is asked over its socket, by the same program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tapir-runtime/tests/support/port.rs"]
mod port;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use port::free_port;
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tapir-pop");
const KEY: &str = "a-key-of-this-test";
const PATIENCE: Duration = Duration::from_secs(120);

struct Pop {
    folder: TempDir,
    child: Child,
}

impl Drop for Pop {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(folder: &Path, action: &str) -> String {
    format!(
        "format: 2\nrevision: {action}\ndataDir: {0}/data\nlisten: 127.0.0.1:0\nhttpListen: 127.0.0.1:0\nsources:\n\
         - {{name: own, list: Allow, match: Subtree, inline: {{names: [good.example]}}}}\n\
         - {{name: blocky, list: Deny, inline: {{names: [evil.example, bad.good.example]}}}}\n\
         - {{name: feed, list: Doubt, rpz: {{primaries: ['127.0.0.1:9'], zone: feed.example.}}}}\n\
         - {{name: dns-tapir, list: Doubt, core: {{}}}}\n\
         deny: {{action: {action}}}\ndoubt: [{{name: new, anyTags: [globally_new], action: DROP}}]\n",
        folder.display()
    )
}

/// Status and body of an answer of upstream's interface.
fn post(port: u16, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: pop\r\nx-api-key: {key}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn vector(file: &str) -> Value {
    let path = format!("{}/../tapir-wire/vectors/pop/api/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every member of upstream's answer is there, of the same kind.
fn same_shape(own: &Value, upstream: &Value) {
    for (key, value) in upstream.as_object().unwrap() {
        let own = own.get(key).unwrap_or_else(|| panic!("{key} is missing in {own}"));
        assert_eq!(std::mem::discriminant(own), std::mem::discriminant(value), "{key}: {own}");
    }
}

impl Pop {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pop.yaml"), text(folder.path(), "NXDOMAIN") + more).unwrap();
        fs::write(folder.path().join("api-key"), format!("{KEY}\n")).unwrap();
        let child = Command::new(PROGRAM)
            .args(["run", "--config-file"])
            .arg(folder.path().join("pop.yaml"))
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pop = Self { folder, child };
        let deadline = Instant::now() + PATIENCE;
        while pop.run(&["status", "-o", "json"]).status.code() != Some(0) || pop.json(&["status"])["pop"]["records"] != 1 {
            assert!(Instant::now() < deadline, "{:?}", pop.run(&["status"]));
            std::thread::sleep(Duration::from_millis(20));
        }
        pop
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let socket = self.folder.path().join("data/admin.sock");
        Command::new(PROGRAM).args(["ctl", "--socket"]).arg(socket).args(arguments).output().unwrap()
    }

    fn table(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.table(&[arguments, &["-o", "json"]].concat())).unwrap()
    }
}

#[test]
fn everything_can_be_asked() {
    let pop = Pop::start();
    let socket = pop.folder.path().join("data/admin.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    // Sources, with one whose primary cannot be reached.
    let deadline = Instant::now() + PATIENCE;
    let sources = loop {
        let sources = pop.json(&["sources"]);
        if sources[2]["state"] == "Failed" {
            break sources;
        }
        assert!(Instant::now() < deadline, "{sources}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let states: Vec<_> =
        sources.as_array().unwrap().iter().map(|row| (row["name"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("own", "Ready"), ("blocky", "Ready"), ("feed", "Failed"), ("dns-tapir", "Pending")]);
    assert!(
        sources[2]["error"].is_string() && pop.table(&["sources"]).contains(sources[2]["error"].as_str().unwrap()),
        "{sources}"
    );
    assert!(pop.table(&["status"]).starts_with("version"));

    let lists = pop.table(&["filterlists"]);
    let row = |name: &str| lists.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("good.example. ").contains("|own ") && row("evil.example. ").contains("|deny "), "{lists}");
    assert_eq!(pop.json(&["filterlists", "--limit", "1"])["total"], 3);

    // Why, in force and with another policy.
    let why = pop.json(&["explain", "Evil.Example"]);
    assert_eq!(
        (&why["action"], &why["decidedBy"][0], &why["served"]["record"]),
        (&"NXDOMAIN".into(), &"blocky".into(), &"NXDOMAIN".into())
    );
    let allowed = pop.json(&["explain", "bad.good.example"]);
    assert_eq!((&allowed["stage"], &allowed["served"]["record"]), (&"Allow".into(), &Value::Null));
    let other = pop.folder.path().join("other.yaml");
    fs::write(&other, "format: 2\nsources:\n- {name: blocky, list: Deny, file: {path: x}}\n- {name: far, list: Deny, file: {path: y}}\ndeny: {action: DROP}\n").unwrap();
    let would = pop.json(&["explain", "bad.good.example", "--policy", other.to_str().unwrap()]);
    assert_eq!(
        (&would["action"], &would["inForce"], &would["missingSources"][0]),
        (&"DROP".into(), &false.into(), &"far".into())
    );
    assert_eq!(would["unusedSources"][0], "own");
    // A list that stands in that file is that of the file.
    fs::write(&other, "format: 2\nsources: [{name: blocky, list: Deny, inline: {names: [new.example]}}]\n").unwrap();
    let with = |name| pop.json(&["explain", name, "--policy", other.to_str().unwrap()])["stage"].clone();
    assert_eq!((with("new.example"), with("evil.example")), ("Deny".into(), "None".into()));
    assert!(pop.table(&["explain", "evil.example"]).starts_with("evil.example.: NXDOMAIN (deny stage) by blocky\n"));

    // A new number would promise new content.
    let serial = pop.json(&["status"])["pop"]["serial"].clone();
    assert_eq!(pop.json(&["bump"])["serial"], serial);

    fs::write(pop.folder.path().join("pop.yaml"), text(pop.folder.path(), "NODATA")).unwrap();
    assert_eq!(pop.json(&["reload"])["error"], Value::Null);
    let deadline = Instant::now() + PATIENCE;
    while pop.json(&["explain", "evil.example"])["served"]["record"] != "NODATA" {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::write(pop.folder.path().join("pop.yaml"), "format: 2\nbroken: true\n").unwrap();
    assert!(pop.json(&["reload"])["error"].as_str().unwrap().contains("unknown key broken (line 2)"));
}

#[test]
fn what_cannot_be_answered_is_said() {
    let pop = Pop::start();
    let error = |arguments: &[&str]| {
        let output = pop.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error(&["explain", "a..b"]).contains("name is no name: "));
    assert!(error(&["filterlists", "--limit", "1000000"]).contains("limit is no number: use 0 to 100000"));
    let broken = pop.folder.path().join("broken.yaml");
    fs::write(&broken, "format: 2\ndeny: {action: PASSTHRU}\n").unwrap();
    assert!(error(&["explain", "a.b", "--policy", broken.to_str().unwrap()]).contains("line 2, deny.action is PASSTHRU"));
    fs::remove_file(pop.folder.path().join("data/admin.sock")).unwrap();
    assert!(error(&["status"]).contains("is tapir-pop running here"));
}

#[test]
fn upstreams_tool_finds_what_it_needs() {
    let port = free_port();
    let pop = Pop::start_with(&format!("api: {{listen: '127.0.0.1:{port}', keyFile: api-key}}\n"));
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    let good = |path: &str, body: Value| {
        let (status, answer) = post(port, path, KEY, &body);
        assert_eq!(status, 200);
        answer
    };
    let known = vector("requests.json");
    let ping = good("/api/v1/ping", json!({"Msg": "hello", "PINGS": 4}));
    assert_eq!((&ping["Pings"], &ping["Pongs"]), (&json!(5), &json!(1)));
    let members = known["requests"][0]["response_members"].as_array().unwrap();
    assert!(members.iter().all(|member| ping.get(member.as_str().unwrap()).is_some()), "{ping}");

    let status = good("/api/v1/command", json!({"Command": "status"}));
    let upstream = vector("command-status-response.json");
    same_shape(&status, &upstream);
    same_shape(&status["TapirFunctionStatus"], &upstream["TapirFunctionStatus"]);
    let row = |status: &Value| status["TapirFunctionStatus"]["ComponentStatus"]["main-boot"].clone();
    same_shape(&row(&status), &row(&upstream));
    assert_eq!(row(&status)["Status"], 2);

    let lists = good("/api/v1/debug", json!({"Command": "filterlists"}));
    let upstream = vector("debug-filterlists-response.json");
    same_shape(&lists, &upstream);
    same_shape(&lists["Lists"]["doubtlist"]["dns-tapir"], &upstream["Lists"]["doubtlist"]["dns-tapir"]);
    assert_eq!(lists["Lists"]["denylist"]["blocky"]["Names"]["evil.example."]["TagMask"], 0);

    let why = good("/api/v1/command", json!({"Command": "rpz-lookup", "Name": "evil.example."}));
    assert!(why["Msg"].as_str().unwrap().starts_with("evil.example.: NXDOMAIN (deny stage) by blocky"), "{why}");
    let sources = good("/api/v1/command", json!({"Command": "rpz-list-sources"}));
    assert_eq!(sources["Msg"], "allow: own\ndeny: blocky\ndoubt: feed, dns-tapir");
    // Whatever else upstream takes is answered, if only with the reason why not.
    for request in known["requests"].as_array().unwrap() {
        let path = format!("/api/v1{}", request["path"].as_str().unwrap());
        let (status, answer) = post(port, &path, KEY, &request["body"]);
        let served = path != "/api/v1/bootstrap";
        assert_eq!(status == 200, served, "{request}: {answer}");
        assert!(!served || answer["Error"] != true || !answer["ErrorMsg"].as_str().unwrap().is_empty(), "{request}: {answer}");
    }
    assert_eq!(post(port, "/api/v1/ping", "another-key-of-this-test", &json!({})).0, 401);

    // A key that everybody knows opens nothing.
    let written = format!("{}/../tapir-wire/vectors/pop/config/dnstapir-cli.yaml", env!("CARGO_MANIFEST_DIR"));
    let written = fs::read_to_string(written).unwrap();
    let key = written.lines().find_map(|line| line.trim().strip_prefix("apikey: ")).unwrap();
    fs::write(pop.folder.path().join("api-key"), key).unwrap();
    pop.json(&["reload"]);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    // It is closed before the status says why.
    while !pop.table(&["status"]).contains("api: api-key holds a key that is known to all") {
        assert!(Instant::now() < deadline, "{}", pop.table(&["status"]));
        std::thread::sleep(Duration::from_millis(20));
    }
}
