//! One edge with many resolver Pods on a real node: how long until a changed policy is in force in all of them.

use std::time::Duration;

use anyhow::{Result, bail};
use tapir_harness::cluster::{self, Cluster};
use tapir_harness::deploy::{Environment, Serves};
use tapir_harness::evidence;
use tapir_harness::images;
use tapir_harness::paths::{self, ClusterName};
use tapir_harness::progress::{NotYet, Step, ask, output, wait_for};

use crate::demo::users_part;
use crate::demo::{EDGE, NAMESPACE};

/// So many Pods take minutes to start on two cores.
const READY_WITHIN: Duration = Duration::from_mins(15);

/// Puts up a cluster, measures, removes it; evidence stays when something fails.
pub(super) fn run(pods: usize, look: impl FnMut(&str)) -> Result<()> {
    let name = ClusterName::parse("bench")?;
    let result = measure(&name, pods, look);
    if result.is_err() {
        evidence::collect(&name, &paths::target().join("bench/real-pods"));
    }
    let removed = cluster::down(&name);
    result.and(removed)
}

fn measure(name: &ClusterName, pods: usize, look: impl FnMut(&str)) -> Result<()> {
    let images = images::build(&[])?;
    let cluster = Cluster::up(name)?;
    let environment = Environment::new(&cluster, &images)?;
    environment.namespace(NAMESPACE)?;
    environment.deploy(Serves::Namespace(NAMESPACE))?;
    users_part::apply(&environment, |manifest| small(&manifest))?;
    let kubectl = |arguments: &[&str]| output(cluster.kubectl().args(["--namespace", NAMESPACE]).args(arguments));
    kubectl(&["scale", "deployment/unbound", &format!("--replicas={pods}")])?;
    wait_for(&format!("{pods} resolver Pods to be ready"), READY_WITHIN, || {
        let status = "--output=jsonpath={.status.readyReplicas}";
        let ready = ask(cluster.kubectl().args(["--namespace", NAMESPACE, "get", "deployment", "unbound", status]))?;
        Ok(ready.and_then(|ready| {
            let message = format!("{ready} of {pods}");
            if ready == pods.to_string() { Ok(()) } else { Err(NotYet { progress: message.clone(), failure: message }) }
        }))
    })?;

    // Pods can be reached from the node alone.
    let program = paths::target().join("release/tapir-bench");
    let mut command = cluster.on_node(&program.display().to_string())?;
    command.args(["in-force", "--namespace", NAMESPACE, "--edge", EDGE, "--pods", &pods.to_string()]);
    command.arg("--kubeconfig").arg(cluster.kubeconfig_on_node()?);
    let mut step = Step::begin("a policy changes again and again");
    let status = step.stream(&mut command, look)?;
    if !status.success() {
        bail!("measuring how fast policies are in force: {status}");
    }
    step.end();
    Ok(())
}

/// The example with requests that leave room for many on a small node.
fn small(manifest: &str) -> String {
    let amounts = "resources: {requests: {cpu: 1m, memory: 8Mi}}";
    manifest
        .replace("cpu: 100m", "cpu: 1m")
        .replace("  edm:\n", &format!("  edm:\n    {amounts}\n"))
        .replace("  pop:\n", &format!("  pop:\n    {amounts}\n"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_becomes_small() {
        let small = super::small("spec:\n  edm:\n    a: b\n  pop:\n    policyRef: {name: default}\n  cpu: 100m\n");
        assert_eq!(small.matches("{cpu: 1m, memory: 8Mi}").count(), 2, "{small}");
        assert!(small.contains("  cpu: 1m"));
    }
}
