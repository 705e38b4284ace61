//! A client that asks through the Service's cluster IP all the while, and the endpoints that it was served by.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cluster::{Background, cluster};
use crate::objects::{items, name, text};
use crate::wait;

/// Asks twenty times a second until it is dropped or finished.
#[derive(Debug)]
pub struct Probe {
    namespace: String,
    service: String,
    log: PathBuf,
    _stream: Background,
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
        let stream = cluster.kubectl_in_background(&["--namespace", namespace, "logs", "--follow", "probe"], &log)?;
        let mut probe =
            Self { namespace: namespace.to_owned(), service: service.to_owned(), log, _stream: stream, endpoints: Vec::new() };
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
        let mut found: Vec<String> = slices
            .iter()
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .map(|endpoint| name(&serde_json::json!({"metadata": {"name": endpoint["targetRef"]["name"]}})))
            .collect();
        found.sort();
        Ok(found)
    }

    /// Fails when any of the endpoints that were there at the start is not ready now.
    ///
    /// # Errors
    /// Names the endpoint that is gone.
    pub fn assert_endpoints_stay(&self) -> Result<()> {
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
        let limit = Duration::from_secs(20);
        let last = wait::until("the probe's verdict", limit, || {
            let last = self.last()?;
            Ok((last["decided"].as_u64() >= Some(sent + 20)).then_some(last))
        })?;
        if last["silent"] != 0 || last["wrong"] != 0 {
            bail!("answers were lost {when}: {last}");
        }
        Ok(())
    }
}
