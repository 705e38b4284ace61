//! A client that asks through the Service's cluster IP all the while, and the endpoints that it was served by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::cluster::{Background, cluster};
use crate::dig::{Answer, dig};
use crate::endpoints::{Change, Ready, Watched, judge, ready, version};
use crate::objects::{items, name, text};
use crate::wait;

/// The probe is patient for three seconds; what it sent before that is decided.
const QUERIES_UNTIL_DECIDED: u64 = 20 * 5;
/// Of the twenty; a busy machine wakes it up late now and then.
const LEAST_PER_SECOND: u64 = 18;

/// Asks twenty times a second until it is dropped or finished.
#[derive(Debug)]
pub struct Probe {
    namespace: String,
    service: String,
    log: PathBuf,
    changes: PathBuf,
    _answers: Background,
    watch: Background,
    /// The endpoints at the start.
    first: Ready,
    /// When, and how many queries had been sent by then.
    began: (Instant, u64),
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
        // The node learns of endpoints a moment after they are ready, and refuses until then.
        wait::until_true("the Service's first answer", Duration::from_secs(30), || {
            Ok(matches!(dig(&address, asked)?, Answer::Records(_)))
        })?;
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"probe"}},"spec":{{"terminationGracePeriodSeconds":0,"restartPolicy":"Never","automountServiceAccountToken":false,"containers":[{{
            "name":"probe","image":"{}","resources":{{"requests":{{"cpu":"50m","memory":"16Mi"}}}},"command":["/usr/bin/tapir-probe","{address}:53","{asked}"],
            "securityContext":{{"allowPrivilegeEscalation":false,"runAsNonRoot":true,"runAsUser":65532,"capabilities":{{"drop":["ALL"]}},"seccompProfile":{{"type":"RuntimeDefault"}}}}}}]}}}}"#,
            cluster.image("tools")?
        );
        cluster.apply(namespace, &manifest)?;
        cluster.kubectl(&["--namespace", namespace, "wait", "--for=condition=Ready", "pod/probe", "--timeout=60s"])?;
        let log = cluster.artifacts.join(format!("{namespace}.probe.jsonl"));
        let answers = cluster.kubectl_in_background(&["--namespace", namespace, "logs", "--follow", "probe"], &log)?;
        let changes = cluster.artifacts.join(format!("{namespace}.endpoints.json"));
        let selector = format!("kubernetes.io/service-name={service}");
        let watch = [
            "--namespace",
            namespace,
            "get",
            "endpointslices",
            "--selector",
            &selector,
            "--watch",
            "--output-watch-events",
            "--output=json",
        ];
        let watch = cluster.kubectl_in_background(&watch, &changes)?;
        let mut probe = Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            log,
            changes,
            _answers: answers,
            watch,
            first: Ready::new(),
            began: (Instant::now(), 0),
        };
        wait::until_true("the probe's first answers", Duration::from_secs(30), || {
            Ok(probe.last()?["decided"].as_u64().unwrap_or(0) >= 20)
        })?;
        probe.first = probe.slices()?.iter().flat_map(ready).collect();
        probe.began = (Instant::now(), probe.last()?["sent"].as_u64().unwrap_or(0));
        probe.undisturbed("before the disturbance", Change::None)?;
        Ok(probe)
    }

    fn last(&self) -> Result<Value> {
        let content = std::fs::read_to_string(&self.log)?;
        let complete = content.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let line = complete.lines().next_back().context("the probe has not reported yet")?;
        Ok(serde_json::from_str(line)?)
    }

    fn slices(&self) -> Result<Vec<Value>> {
        let selector = format!("kubernetes.io/service-name={}", self.service);
        Ok(items(cluster().get(&self.namespace, &["endpointslices", "--selector", &selector])?))
    }

    /// Fails when a query that was sent up to now was lost, when the client did not ask all the while, and when the endpoints of the
    /// Service changed from the probe's start until after the last of these queries other than `allowed`.
    ///
    /// # Errors
    /// With the counts, or the endpoint.
    pub fn undisturbed(&self, when: &str, allowed: Change) -> Result<()> {
        self.verdict().and_then(|()| self.endpoints(allowed)).with_context(|| when.to_owned())
    }

    fn verdict(&self) -> Result<()> {
        let sent = self.last()?["sent"].as_u64().unwrap_or(0);
        let last = wait::until("the probe's verdict", Duration::from_secs(20), || {
            let last = self.last()?;
            Ok((last["sent"].as_u64() >= Some(sent + QUERIES_UNTIL_DECIDED)).then_some(last))
        })?;
        if last["silent"] != 0 || last["wrong"] != 0 {
            bail!("answers were lost: {last}");
        }
        let (began, sent_before) = self.began;
        let (sent, seconds) = (last["sent"].as_u64().unwrap_or(0) - sent_before, began.elapsed().as_secs());
        ensure!(sent >= LEAST_PER_SECOND * seconds, "only {sent} queries in {seconds} s: the client was held up");
        Ok(())
    }

    fn endpoints(&self, allowed: Change) -> Result<()> {
        // The watch must have come as far as the API server is now, or what it did not tell would count as calm.
        let watched = wait::until("the watch on the endpoints to be up to date", Duration::from_secs(10), || {
            let now: BTreeMap<String, String> = self.slices()?.iter().map(|slice| (name(slice), version(slice))).collect();
            let watched = Watched::read(&std::fs::read_to_string(&self.changes)?);
            Ok((watched.versions == now).then_some(watched))
        })?;
        self.watch.is_running()?;
        judge(&self.first, &watched.states, allowed)
    }
}
