//! The dev Core as a process.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tapir_harness::progress::output;

use crate::http::{self, Answer};
use crate::processes::{Process, free_port};
use crate::{programs, wait};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A Core of one's own; its nodes are in memory and end with it.
#[derive(Debug)]
pub struct Core {
    process: Process,
    url: String,
    control: String,
    ca: String,
    nodeman: Client,
    plain: Client,
}

impl Core {
    /// `arguments` are those of `core-dev serve`.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Result<Self> {
        let (program, keys) = (programs::core_dev()?, folder.join("core-keys"));
        if !keys.exists() {
            output(Command::new(&program).args(["pki", "--directory"]).arg(&keys))?;
        }
        let ca = fs::read_to_string(keys.join("core/web-ca.crt")).context("reading Core's CA")?;
        let [nodeman, aggrec, control] = [free_port(), free_port(), free_port()];
        let url = format!("https://127.0.0.1:{nodeman}/");
        let mut all: Vec<String> = vec!["serve".into(), format!("--pki={}", keys.join("core").display())];
        all.extend([
            format!("--nodeman-listen=127.0.0.1:{nodeman}"),
            format!("--aggrec-listen=127.0.0.1:{aggrec}"),
            format!("--control-listen=127.0.0.1:{control}"),
            format!("--nodeman-url={url}"),
            format!("--aggrec-url=https://127.0.0.1:{aggrec}/"),
            // There is no broker: nothing of what happens here needs one.
            "--mqtt-broker=mqtts://127.0.0.1:1".into(),
            "--ticker=0".into(),
        ]);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let core = Self {
            process: Process::start(folder, "core", &program, &all, &[("RUST_LOG".into(), "info".into())])?,
            nodeman: http::client(Some(&ca), None)?,
            plain: http::client(None, None)?,
            control: format!("http://127.0.0.1:{control}"),
            url,
            ca,
        };
        wait::until_true("the dev Core", START_LIMIT, || {
            core.process.still_runs()?;
            Ok(core.control(Method::GET, "healthz", None)?.status == 200)
        })?;
        Ok(core)
    }

    /// CA of nodeman's certificate, for an edge's `caBundle`.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Base URL of nodeman.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Makes a node as Core's administrator does; gives the enrolment credentials.
    pub fn create_node(&self, name: &str) -> Result<String> {
        let answer = self.administer(Method::POST, "node", Some(&json!({"name": name})))?;
        ensure!(answer.status == 201, "nodeman made no node: {} {}", answer.status, answer.text);
        Ok(answer.text)
    }

    /// A call of a node's own, as its client makes it.
    pub fn call(&self, node: &str, action: &str, body: String) -> Result<Answer> {
        let url = format!("{}api/v1/node/{node}/{action}", self.url);
        let request = self.nodeman.post(url).header("content-type", "application/json").body(body);
        http::send(request).context("asking nodeman as a node")
    }

    /// As the administrator sees it; `None` when Core has no such node.
    pub fn node(&self, name: &str) -> Result<Option<Value>> {
        let answer = self.administer(Method::GET, &format!("node/{name}"), None)?;
        Ok((answer.status == 200).then(|| answer.json()))
    }

    /// Names of all nodes, whether enrolled or not.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let list = self.administer(Method::GET, "nodes", None)?.json();
        Ok(list["nodes"].as_array().into_iter().flatten().filter_map(|node| node["name"].as_str().map(str::to_owned)).collect())
    }

    /// Removes a node for good, as its administrator does.
    pub fn delete_node(&self, name: &str) -> Result<()> {
        let answer = self.administer(Method::DELETE, &format!("node/{name}"), None)?;
        ensure!(answer.status == 204, "nodeman did not delete {name}: {} {}", answer.status, answer.text);
        Ok(())
    }

    /// Everything that it received so far.
    pub fn dump(&self) -> Result<Vec<Value>> {
        let text = self.control(Method::GET, "dump", None)?.text;
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).context("a line of the dump"));
        let summary = lines.next().context("the dump is empty")??;
        ensure!(summary["complete"] == true, "the dev Core's record is not whole: {summary}");
        lines.collect()
    }

    /// Requests of edges to nodeman about a node that end in `action`, in order: the status of each answer, none where it was withheld.
    pub fn calls(&self, node: &str, action: &str) -> Result<Vec<Option<u64>>> {
        let target = format!("/api/v1/node/{node}/{action}");
        let entries = self.dump()?.into_iter().filter(|entry| entry["kind"] == "http" && entry["target"] == target);
        Ok(entries.map(|entry| entry["status"].as_u64()).collect())
    }

    /// Misbehaves from now on; `none` ends that.
    pub fn fault(&self, fault: &str) -> Result<()> {
        self.tell(Method::POST, "faults", &json!({"fault": fault})).map(|_| ())
    }

    /// Misbehaves towards one node, whatever befalls the others; `none` exempts it.
    pub fn fault_of(&self, node: &str, fault: &str) -> Result<()> {
        self.tell(Method::POST, "faults", &json!({"fault": fault, "node": node})).map(|_| ())
    }

    /// Lists a new key as trusted and signs with it; the old ones stay.
    pub fn rotate_keys(&self, kid: &str) -> Result<()> {
        self.tell(Method::POST, "keys", &json!({"kid": kid})).map(|_| ())
    }

    /// Lists a key no longer.
    pub fn withdraw_key(&self, kid: &str) -> Result<()> {
        self.tell(Method::DELETE, &format!("keys/{kid}"), &Value::Null).map(|_| ())
    }

    /// Seconds of certificates that are issued from now on; `limits` is what may be asked for, without them only the default.
    pub fn certificate_lifetime(&self, default: u64, limits: Option<(u64, u64)>) -> Result<()> {
        let (minimum, maximum) = limits.unzip();
        let body = json!({"default": default, "minimum": minimum, "maximum": maximum});
        self.tell(Method::PUT, "certificate-lifetime", &body).map(|_| ())
    }

    /// Any order to the control interface, which must accept it.
    pub fn tell(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let answer = self.control(method, path, Some(body))?;
        ensure!((200..300).contains(&answer.status), "the dev Core refused {path}: {} {}", answer.status, answer.text);
        Ok(answer.json())
    }

    fn control(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.plain.request(method, format!("{}/{path}", self.control));
        if let Some(body) = body {
            request = request.json(body);
        }
        http::send(request).context("asking the dev Core's control interface")
    }

    fn administer(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.nodeman.request(method, format!("{}api/v1/{path}", self.url)).basic_auth("admin", Some("secret"));
        if let Some(body) = body {
            request = request.json(body);
        }
        http::send(request).context("asking nodeman")
    }
}
