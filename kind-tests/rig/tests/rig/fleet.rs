//! Twenty edges and one new image: canaries first, one edge after the other, and nobody follows one that did not bear it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tapir_rig::client::{EDGES, PODS, condition, text};
use tapir_rig::{Core, Operator, PATIENCE, Rig, Signal, Site, wait};

use crate::kubelet::{Kubelet, images, new_pod};
use crate::rollout::{LONG_AGO, pop};

const EDGES_OF_IT: usize = 20;
/// Goes first, though not by its name.
const CANARY: &str = "edge-13";
/// Those with two Pods each.
const WITH_PODS: [&str; 4] = ["edge-02", "edge-07", CANARY, "edge-16"];
/// Runs an image that its owner chose.
const PINNED: &str = "edge-16";
/// Its only Pod is never touched.
const LONE: &str = "edge-05";
/// All of them, one after the other.
const WHOLE: Duration = Duration::from_mins(3);

struct Fleet<'rig> {
    site: Site<'rig>,
    kubelet: Kubelet,
    _core: Core,
}

fn name(number: usize) -> String {
    format!("edge-{number:02}")
}

/// The edge that a Pod belongs to.
fn of(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(edge, _)| edge)
}

impl Fleet<'_> {
    /// Everybody runs version 1; gives the operator, too.
    fn new() -> Result<(Self, Operator)> {
        let site = Site::new(Rig::shared()?, "fleet", &[("images.pop", &pop("1"))])?;
        let (core, kubelet) = (site.core(&[])?, Kubelet::start(&site));
        let operator = site.operator("operator-0", &[])?;
        site.policy()?;
        for number in 0..EDGES_OF_IT {
            let edge = name(number);
            site.credentials(&core, &edge)?;
            let mut manifest = site.edge_manifest(&edge);
            if edge == CANARY {
                manifest["metadata"]["labels"] = json!({"ring": "first"});
            }
            if edge == PINNED {
                manifest["spec"]["pop"]["image"] = json!(pop("pinned"));
            }
            site.admin().create(EDGES, &site.namespace, &manifest)?;
        }
        for edge in WITH_PODS {
            new_pod(&site, edge, &format!("{edge}-a"))?;
            new_pod(&site, edge, &format!("{edge}-b"))?;
        }
        new_pod(&site, LONE, &format!("{LONE}-a"))?;
        let fleet = Self { site, kubelet, _core: core };
        fleet.wait_done("1")?;
        Ok((fleet, operator))
    }

    /// Another release of the chart, which starts the operator anew.
    fn release(&self, version: &str, operator: &Operator) -> Result<Operator> {
        self.end(operator)?;
        let rollout = [
            ("images.pop", pop(version)),
            ("rollout.canarySelector.matchLabels.ring", "first".to_owned()),
            ("rollout.canarySoak", "6s".to_owned()),
            ("rollout.prePull", "false".to_owned()),
        ];
        self.site.chart(&rollout.each_ref().map(|(name, value)| (*name, value.as_str())))?;
        self.site.operator("operator-0", &[])
    }

    fn end(&self, operator: &Operator) -> Result<()> {
        operator.signal(Signal::SIGTERM)?;
        ensure!(operator.exit_code(PATIENCE)? == 0, "it ends in order");
        Ok(())
    }

    fn edges(&self) -> Result<Vec<Value>> {
        self.site.admin().list(EDGES, &self.site.namespace)
    }

    /// Every edge has come to its end with a release, as far as the operator may bring it.
    fn wait_done(&self, version: &str) -> Result<()> {
        let mut left = Vec::new();
        wait::until_true(&format!("all edges to have {version}"), WHOLE, || {
            drop(self.kubelet.seen()?);
            left =
                self.edges()?.iter().filter(|edge| !is_done(edge, version)).map(|edge| text(&edge["metadata"]["name"])).collect();
            Ok(left.is_empty())
        })
        .with_context(|| format!("left: {left:?}; logs in {}", self.site.folder().display()))
    }

    /// Edges whose Pods were restarted since, in order; each once for as long as it went on.
    fn turns(&self, since: usize) -> Result<Vec<String>> {
        let seen = self.kubelet.seen()?;
        ensure!(seen.together.is_empty(), "in motion at the same time: {:?}", seen.together);
        let mut turns: Vec<String> = seen.restarts.iter().skip(since).map(|(pod, _)| of(pod).to_owned()).collect();
        turns.dedup();
        Ok(turns)
    }

    fn restarts(&self) -> Result<usize> {
        Ok(self.kubelet.seen()?.restarts.len())
    }

    /// Versions of POP that Pods run by their spec.
    fn versions(&self) -> Result<BTreeSet<(String, String)>> {
        let pods = self.site.admin().list(PODS, &self.site.namespace)?;
        let version =
            |pod: &Value| images(pod).get("tapir-pop").and_then(|image| image.rsplit_once(':').map(|(_, tag)| tag.to_owned()));
        Ok(pods.iter().map(|pod| (text(&pod["metadata"]["name"]), version(pod).unwrap_or_default())).collect())
    }

    /// What new Pods of edges other than the canary and the pinned one would get.
    fn given(&self) -> Result<BTreeSet<String>> {
        let others =
            self.edges()?.into_iter().filter(|edge| edge["metadata"]["name"] != CANARY && edge["metadata"]["name"] != PINNED);
        Ok(others.map(|edge| text(&edge["status"]["injection"]["images"]["pop"])).collect())
    }
}

fn is_done(edge: &Value, version: &str) -> bool {
    let (name, rollout) = (text(&edge["metadata"]["name"]), &edge["status"]["rollout"]);
    let version = if name == PINNED { "pinned" } else { version };
    let images = [&rollout["target"]["pop"], &edge["status"]["injection"]["images"]["pop"]];
    let phase = if name == LONE && version != "1" { "Waiting" } else { "Current" };
    images.iter().all(|image| **image == pop(version).as_str()) && rollout["phase"] == phase && rollout["pod"].is_null()
}

#[test]
fn one_edge_after_the_other_canaries_first_and_nobody_after_one_that_did_not_bear_it() -> Result<()> {
    let (fleet, operator) = Fleet::new()?;
    let operator = fleet.release("2", &operator)?;
    // While the canary has its turn, and until it has run the image for a while, nobody else's new Pods get it.
    wait::until_true("the canary to begin", PATIENCE, || Ok(fleet.site.edge(CANARY)?["status"]["rollout"]["pod"].is_object()))?;
    assert_eq!(fleet.given()?, [pop("1")].into());
    wait::until_true("the canary to be done", PATIENCE, || Ok(is_done(&fleet.site.edge(CANARY)?, "2")))?;
    wait::holds("it soaks", Duration::from_secs(3), || Ok(fleet.given()? == [pop("1")].into() && fleet.turns(0)? == [CANARY]))?;
    fleet.wait_done("2")?;
    assert_eq!(fleet.turns(0)?, [CANARY, "edge-02", "edge-07"], "the lone Pod is left alone, and so is the pinned edge");
    assert_eq!(fleet.restarts()?, 6, "each Pod once");
    let lone = fleet.site.edge(LONE)?;
    assert_eq!(lone["status"]["rollout"]["reason"], "LonePod");

    // An image that no Pod bears stops at the first one.
    let before = fleet.restarts()?;
    let operator = fleet.release("broken", &operator)?;
    wait::until_true("the canary to halt", PATIENCE, || {
        let rollout = fleet.site.edge(CANARY)?["status"]["rollout"].clone();
        let pod = &rollout["pod"];
        if fleet.restarts()? == before + 1 && pod.is_object() && pod["wayBack"] != true && pod["since"] != LONG_AGO {
            let aged = json!({"status": {"rollout": {"pod": {"since": LONG_AGO}}}});
            fleet.site.admin().merge(EDGES, &fleet.site.namespace, &format!("{CANARY}/status"), &aged)?;
        }
        Ok(rollout["phase"] == "Halted" && pod.is_null())
    })?;
    let is_stopped = || -> Result<bool> {
        let waits = |edge: &Value| {
            edge["metadata"]["name"] == CANARY
                || edge["metadata"]["name"] == PINNED
                || edge["status"]["rollout"]["reason"] == "FleetHalted"
        };
        Ok(fleet.edges()?.iter().all(waits))
    };
    wait::until_true("the others to say why they wait", PATIENCE, is_stopped)?;
    let edge = fleet.site.edge("edge-02")?;
    let (well, reason, message) = condition(&edge, "Injected").context("the condition")?;
    assert_eq!((well.as_str(), reason.as_str()), ("True", "UpdatePending"), "{message}");
    // Another process learns it from what is written.
    fleet.end(&operator)?;
    let operator = fleet.site.operator("operator-0", &[])?;
    wait::until_true("it to be ready", PATIENCE, || Ok(operator.page("/readyz")?.status == 200))?;
    // Longer than the soak.
    wait::holds("everybody waits", Duration::from_secs(8), || Ok(is_stopped()? && fleet.given()? == [pop("2")].into()))?;
    assert_eq!(fleet.turns(before)?, [CANARY], "there and back");
    assert_eq!(fleet.restarts()?, before + 2);
    assert!(!fleet.versions()?.iter().any(|(_, version)| version == "broken"), "{:?}", fleet.versions()?);

    // A better one sets all in motion again.
    let before = fleet.restarts()?;
    let _operator = fleet.release("3", &operator)?;
    wait::until_true("the canary to be done", PATIENCE, || Ok(is_done(&fleet.site.edge(CANARY)?, "3")))?;
    wait::until_true("another edge to begin", PATIENCE, || Ok(fleet.turns(before)? == [CANARY, "edge-02"]))?;
    fleet.site.passed()
}
