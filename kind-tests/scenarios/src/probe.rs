//! A client that asks through the Service's cluster IP all the while, and the endpoints that it was served by.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cluster::{Background, cluster};
use crate::objects::{items, text};
use crate::wait;

/// The probe is patient for three seconds; what it sent before that is decided.
const QUERIES_UNTIL_DECIDED: u64 = 20 * 5;

/// Asks twenty times a second until it is dropped or finished.
#[derive(Debug)]
pub struct Probe {
    namespace: String,
    service: String,
    log: PathBuf,
    changes: PathBuf,
    _streams: [Background; 2],
    endpoints: Vec<String>,
}

impl Probe {
    /// Starts the client Pod and waits until it has been answered for a second.
    ///
    /// # Errors
    /// When the Pod does not come up or is not answered.
    pub fn start(namespace: &str, service: &str, asked: &str) -> Result<Self> {
        let cluster = cluster();
        let object = cluster.get(namespace, &["service", service])?.context("the Service")?;
        let address = text(&object["spec"]["clusterIP"]);
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"probe"}},"spec":{{"terminationGracePeriodSeconds":0,"restartPolicy":"Never","automountServiceAccountToken":false,"containers":[{{
            "name":"probe","image":"{}","command":["/usr/bin/tapir-probe","{address}:53","{asked}"],
            "securityContext":{{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"runAsUser":65532,"capabilities":{{"drop":["ALL"]}},"seccompProfile":{{"type":"RuntimeDefault"}}}}}}]}}}}"#,
            cluster.image("tools")?
        );
        cluster.apply(namespace, &manifest)?;
        cluster.kubectl(&["--namespace", namespace, "wait", "--for=condition=Ready", "pod/probe", "--timeout=60s"])?;
        let log = cluster.artifacts.join(format!("{namespace}.probe.jsonl"));
        let answers = cluster.kubectl_in_background(&["--namespace", namespace, "logs", "--follow", "probe"], &log)?;
        let changes = cluster.artifacts.join(format!("{namespace}.endpoints.json"));
        let selector = format!("kubernetes.io/service-name={service}");
        let watch = ["--namespace", namespace, "get", "endpointslices", "--selector", &selector, "--watch", "--output=json"];
        let watch = cluster.kubectl_in_background(&watch, &changes)?;
        let mut probe = Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            log,
            changes,
            _streams: [answers, watch],
            endpoints: Vec::new(),
        };
        wait::until_true("the probe's first answers", Duration::from_secs(30), || {
            Ok(probe.last()?["decided"].as_u64().unwrap_or(0) >= 20)
        })?;
        probe.endpoints = probe.ready_endpoints()?;
        probe.verdict("before the disturbance")?;
        Ok(probe)
    }

    fn last(&self) -> Result<Value> {
        let content = std::fs::read_to_string(&self.log)?;
        let complete = content.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let line = complete.lines().next_back().context("the probe has not reported yet")?;
        Ok(serde_json::from_str(line)?)
    }

    fn ready_endpoints(&self) -> Result<Vec<String>> {
        let selector = format!("kubernetes.io/service-name={}", self.service);
        let slices = items(cluster().get(&self.namespace, &["endpointslices", "--selector", &selector])?);
        let mut found: Vec<String> = slices.iter().flat_map(ready).collect();
        found.sort();
        Ok(found)
    }

    /// Fails when any of the endpoints that were there at the start was not ready at any time since.
    ///
    /// # Errors
    /// Names the endpoint that was gone.
    pub fn assert_endpoints_stay(&self) -> Result<()> {
        let content = std::fs::read_to_string(&self.changes)?;
        // The last one may not be written to its end.
        let seen: Vec<Value> = serde_json::Deserializer::from_str(&content).into_iter().map_while(Result::ok).collect();
        if seen.is_empty() {
            bail!("the watch on the Service's endpoints saw nothing");
        }
        for slice in &seen {
            let ready: Vec<String> = ready(slice).collect();
            if let Some(gone) = self.endpoints.iter().find(|endpoint| !ready.contains(endpoint)) {
                bail!("endpoint {gone} left the Service for a time; ready then: {ready:?}");
            }
        }
        let now = self.ready_endpoints()?;
        match self.endpoints.iter().find(|endpoint| !now.contains(endpoint)) {
            Some(gone) => bail!("endpoint {gone} left the Service; ready now: {now:?}"),
            None => Ok(()),
        }
    }

    /// Waits until every query sent up to now is decided, and fails when one was lost.
    ///
    /// # Errors
    /// With the counts.
    pub fn verdict(&self, when: &str) -> Result<()> {
        let sent = self.last()?["sent"].as_u64().unwrap_or(0);
        let last = wait::until("the probe's verdict", Duration::from_secs(20), || {
            let last = self.last()?;
            Ok((last["sent"].as_u64() >= Some(sent + QUERIES_UNTIL_DECIDED)).then_some(last))
        })?;
        if last["silent"] != 0 || last["wrong"] != 0 {
            bail!("answers were lost {when}: {last}");
        }
        Ok(())
    }
}

/// Names of the Pods behind a slice that are served to clients.
fn ready(slice: &Value) -> impl Iterator<Item = String> + '_ {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).map(|endpoint| text(&endpoint["targetRef"]["name"]))
}
