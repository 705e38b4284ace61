//! New images on their way into running Pods, and the operator ends there: another one finishes, and never are two Pods in motion.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{EDGES, EVENTS, PODS, condition, text};
use tapir_rig::{Core, Operator, PATIENCE, Rig, Signal, Site, wait};

use crate::crashes::FAILPOINT;
use crate::kubelet::{Kubelet, images, new_pod};

const EDGE: &str = "demo";
const PODS_OF_IT: [&str; 2] = ["a", "b"];
/// Exit code of an operator that lost the Lease.
const LEASE_LOST: i32 = 3;
/// Long before any test.
pub(crate) const LONG_AGO: &str = "2026-01-01T00:00:00Z";

pub(crate) fn pop(version: &str) -> String {
    format!("registry.test/tapir-pop:{version}")
}

/// An edge whose two Pods run version 1, and no operator.
struct Rolled<'rig> {
    site: Site<'rig>,
    kubelet: Kubelet,
    _core: Core,
}

impl Rolled<'_> {
    fn new(name: &str) -> Result<Self> {
        let site = Site::new(Rig::shared()?, name, &[("images.pop", &pop("1"))])?;
        let (core, kubelet) = (site.core(&[])?, Kubelet::start(&site));
        let operator = site.operator("operator-0", &[])?;
        site.new_edge(&core, EDGE)?;
        site.wait_condition(EDGE, "Enrolled", "True", None)?;
        for pod in PODS_OF_IT {
            new_pod(&site, EDGE, pod)?;
        }
        let rolled = Self { site, kubelet, _core: core };
        rolled.wait_all_run("1")?;
        rolled.end(&operator)?;
        Ok(rolled)
    }

    fn release(&self, version: &str) -> Result<()> {
        self.site.chart(&[("images.pop", &pop(version))])
    }

    fn end(&self, operator: &Operator) -> Result<()> {
        operator.signal(Signal::SIGTERM)?;
        ensure!(operator.exit_code(PATIENCE)? == 0, "it ends in order");
        Ok(())
    }

    fn rollout(&self) -> Result<Value> {
        Ok(self.site.edge(EDGE)?["status"]["rollout"].clone())
    }

    /// POP's image by the spec of a Pod.
    fn runs(&self, pod: &str) -> Result<String> {
        let pod = self.site.admin().read(PODS, &self.site.namespace, pod)?;
        Ok(images(&pod).get("tapir-pop").cloned().unwrap_or_default())
    }

    fn all_run(&self, version: &str) -> Result<bool> {
        Ok(PODS_OF_IT.iter().map(|pod| self.runs(pod)).collect::<Result<Vec<_>>>()?.iter().all(|image| *image == pop(version)))
    }

    /// Everywhere, and nothing is under way any more: no Pod in motion, no Pod that pulls.
    fn wait_all_run(&self, version: &str) -> Result<()> {
        wait::until_true(&format!("both Pods to run {version}"), PATIENCE, || {
            drop(self.kubelet.seen()?);
            let status = self.site.edge(EDGE)?["status"].clone();
            let rollout = &status["rollout"];
            let at_rest = rollout["phase"] == "Current" && rollout["pod"].is_null() && status["pods"]["updated"] == 2;
            Ok(self.all_run(version)? && at_rest && status["injection"]["images"]["pop"] == pop(version).as_str())
        })
        .with_context(|| format!("{}; logs in {}", self.rollout().unwrap_or_default(), self.site.folder().display()))?;
        self.wait_no_pull()
    }

    fn wait_no_pull(&self) -> Result<()> {
        wait::until_true("Pods that pull to be gone", PATIENCE, || {
            Ok(self.site.admin().list(PODS, &self.site.namespace)?.len() == PODS_OF_IT.len())
        })
    }

    /// Sidecars were restarted like this, one after the other.
    fn restarted(&self, expected: &[(&str, &str)]) -> Result<()> {
        let seen = self.kubelet.seen()?;
        let expected: Vec<(String, String)> = expected.iter().map(|(pod, version)| ((*pod).to_owned(), pop(version))).collect();
        ensure!(seen.restarts == expected, "restarts: {:?}", seen.restarts);
        ensure!(seen.together.is_empty(), "in motion at the same time: {:?}", seen.together);
        Ok(())
    }

    /// As if the Pod had been changed long ago.
    fn age(&self) -> Result<()> {
        let pod = self.rollout()?["pod"].clone();
        if pod.is_object() && pod["wayBack"] != true && pod["since"] != LONG_AGO {
            let patch = json!({"status": {"rollout": {"pod": {"since": LONG_AGO}}}});
            self.site.admin().merge(EDGES, &self.site.namespace, &format!("{EDGE}/status"), &patch)?;
        }
        Ok(())
    }
}

fn finished_by_the_next(point: &str) -> Result<()> {
    let rolled = Rolled::new(point)?;
    rolled.release("2")?;
    let first = rolled.site.operator("operator-0", &[("TAPIR_FAILPOINT", point)])?;
    assert_eq!(first.exit_code(PATIENCE)?, FAILPOINT, "it ends where it was told to");
    let written = rolled.rollout()?;
    assert_eq!((text(&written["phase"]), text(&written["pod"]["name"])), ("Rolling".into(), "a".into()), "{written}");
    assert_eq!(rolled.runs("a")?, pop(if point == "rollout-after-intent" { "1" } else { "2" }));
    let _second = rolled.site.operator("operator-0", &[])?;
    rolled.wait_all_run("2")?;
    rolled.restarted(&[("a", "2"), ("b", "2")])?;
    rolled.site.passed()
}

#[test]
fn it_is_written_which_pod_is_next() -> Result<()> {
    finished_by_the_next("rollout-after-intent")
}

#[test]
fn a_pod_was_changed() -> Result<()> {
    finished_by_the_next("rollout-after-patch")
}

#[test]
fn a_pod_that_did_not_come_back_was_put_back() -> Result<()> {
    let rolled = Rolled::new("rollout-after-way-back")?;
    rolled.release("broken")?;
    let first = rolled.site.operator("operator-0", &[("TAPIR_FAILPOINT", "rollout-after-way-back")])?;
    wait::until_true("the Pod to be put back, and the operator to end", PATIENCE, || {
        if rolled.kubelet.seen()?.restarts.len() == 1 {
            rolled.age()?;
        }
        Ok(first.process().ended()?.is_some())
    })?;
    assert_eq!(first.exit_code(PATIENCE)?, FAILPOINT, "it ends where it was told to");
    let written = rolled.rollout()?;
    assert_eq!((text(&written["phase"]), &written["pod"]["wayBack"]), ("Halted".into(), &json!(true)), "{written}");
    let second = rolled.site.operator("operator-0", &[])?;
    let edge = rolled.site.wait_condition(EDGE, "Injected", "False", Some("RolloutHalted"))?;
    let (_, _, message) = condition(&edge, "Injected").context("the condition")?;
    assert!(message.contains("Pod a") && message.contains("CrashLoopBackOff"), "{message}");
    wait::until_true("the way back to end", PATIENCE, || Ok(rolled.rollout()?["pod"].is_null()))?;
    // Time for a round that would begin anew.
    wait::holds("nothing more is changed", std::time::Duration::from_secs(4), || {
        Ok(rolled.all_run("1")? && rolled.rollout()?["phase"] == "Halted")
    })?;
    assert_eq!(rolled.site.edge(EDGE)?["status"]["injection"]["images"]["pop"], pop("1").as_str(), "new Pods get what is proved");
    let events = rolled.site.admin().list(EVENTS, &rolled.site.namespace)?;
    assert!(events.iter().any(|event| event["type"] == "Warning" && text(&event["note"]).contains("Pod a")), "{events:?}");
    rolled.wait_no_pull()?;
    rolled.restarted(&[("a", "broken"), ("a", "1")])?;

    // Other images end the halt.
    rolled.end(&second)?;
    rolled.release("2")?;
    let _third = rolled.site.operator("operator-0", &[])?;
    rolled.wait_all_run("2")?;
    rolled.restarted(&[("a", "broken"), ("a", "1"), ("a", "2"), ("b", "2")])?;
    rolled.site.passed()
}

/// Stopped with the change in its hands while others bring that image and the next one: what it sends late changes nothing.
#[test]
fn a_late_change_by_a_stale_leader_is_refused() -> Result<()> {
    let rolled = Rolled::new("rollout-stale")?;
    rolled.release("2")?;
    let first = rolled.site.operator("operator-0", &[("TAPIR_FAILPOINT", "rollout-after-intent:stop")])?;
    first.wait_for_log("stopping at a failpoint", PATIENCE)?;
    rolled.site.shorten_term()?;
    let second = rolled.site.operator("operator-1", &[])?;
    rolled.wait_all_run("2")?;
    rolled.end(&second)?;
    rolled.release("3")?;
    let _third = rolled.site.operator("operator-2", &[])?;
    rolled.wait_all_run("3")?;
    first.signal(Signal::SIGCONT)?;
    assert_eq!(first.exit_code(PATIENCE)?, LEASE_LOST);
    wait::holds("the images stay", std::time::Duration::from_secs(2), || rolled.all_run("3"))?;
    rolled.restarted(&[("a", "2"), ("b", "2"), ("a", "3"), ("b", "3")])?;
    rolled.site.passed()
}
