//! From a change of a TapirPolicy to the change being in force in every POP of an edge, by what each POP says of itself (`config.loadedAt`).
//! All clocks are one: everything runs on one node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tapir_operator::api::{TapirEdge, TapirPolicy};
use tapir_wire::node::paths::POP_HTTP_PORT;
use tapir_wire::status::{ConfigStatus, SidecarStatus};

use crate::{figure, say};

/// Between two looks at all POPs: often enough to go on soon, seldom enough not to keep the node from its work.
const LOOK: Duration = Duration::from_secs(1);
/// The kubelet comes by itself after about a minute.
const PATIENCE: Duration = Duration::from_mins(3);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Access to the cluster
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Namespace of the edge
    #[arg(long)]
    namespace: String,
    /// The edge
    #[arg(long)]
    edge: String,
    /// Pods that must answer
    #[arg(long)]
    pods: usize,
    /// Changes of the policy
    #[arg(long, default_value_t = 40)]
    changes: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    tokio::runtime::Runtime::new().context("starting the runtime")?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let kubeconfig = Kubeconfig::read_from(&arguments.kubeconfig).context("reading the kubeconfig")?;
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.context("reading the kubeconfig")?;
    let client = Client::try_from(config).context("making a client")?;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).tls_certs_only([]).build()?;
    let pods = addresses(&client, arguments).await?;
    let edges: Api<TapirEdge> = Api::namespaced(client.clone(), &arguments.namespace);
    let edge = edges.get(&arguments.edge).await.context("reading the edge")?;
    let policy = edge.spec.pop.policy_ref.context("the edge has no policy")?.name;
    let policies: Api<TapirPolicy> = Api::namespaced(client, &arguments.namespace);

    let mut seconds = Vec::new();
    let mut last = String::new();
    for change in 0..arguments.changes {
        let name = format!("change-{change}.example.se");
        let patch = json!({"spec": {"deny": {"action": if change % 2 == 0 { "NODATA" } else { "NXDOMAIN" }}}, "metadata": {"labels": {"bench": name}}});
        let written = Timestamp::now();
        policies.patch(&policy, &PatchParams::default(), &Patch::Merge(patch)).await.context("changing the policy")?;
        let (revision, mut took) = in_force(&http, &pods, written, &last).await?;
        took.sort_by(f64::total_cmp);
        let slowest = took.last().copied().unwrap_or_default();
        say(&format!("    change {change}: median {:.3} s, slowest {slowest:.3} s", quantile(&took, 0.5)));
        seconds.append(&mut took);
        last = revision;
    }
    seconds.sort_by(f64::total_cmp);
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        figure(&format!("operator.policy_in_force_s_{name}"), quantile(&seconds, share), "s");
    }
    Ok(())
}

async fn addresses(client: &Client, arguments: &Arguments) -> Result<Vec<SocketAddr>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &arguments.namespace);
    let list = ListParams::default().labels(&format!("dnstapir.se/edge={}", arguments.edge));
    let pods = api.list(&list).await.context("listing Pods")?.items;
    let address = |pod: &Pod| Some(SocketAddr::new(pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?, POP_HTTP_PORT));
    let found: Vec<SocketAddr> = pods.iter().filter_map(address).collect();
    ensure!(found.len() == arguments.pods, "{} Pods have addresses, not {}", found.len(), arguments.pods);
    Ok(found)
}

/// Seconds from `written` for each POP, and the revision that all of them have now.
async fn in_force(http: &reqwest::Client, pods: &[SocketAddr], written: Timestamp, before: &str) -> Result<(String, Vec<f64>)> {
    let begin = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let answers: Vec<ConfigStatus> = join_all(pods.iter().map(|pod| ask(http, *pod))).await.into_iter().flatten().collect();
        let revision = answers.first().map(|config| config.revision.clone()).unwrap_or_default();
        let loaded = |config: &ConfigStatus| config.loaded_at.filter(|loaded| *loaded >= written);
        let took: Vec<f64> =
            answers.iter().filter_map(loaded).map(|loaded| loaded.duration_since(written).as_secs_f64()).collect();
        let same = answers.iter().all(|config| config.revision == revision);
        if took.len() == pods.len() && same && revision != before {
            return Ok((revision, took));
        }
        if begin.elapsed() > PATIENCE {
            bail!("after {} s {} of {} POPs have the change", PATIENCE.as_secs(), took.len(), pods.len());
        }
    }
}

async fn ask(http: &reqwest::Client, pod: SocketAddr) -> Option<ConfigStatus> {
    let answer = http.get(format!("http://{pod}/status")).send().await.ok()?;
    Some(answer.json::<SidecarStatus>().await.ok()?.config)
}

/// Of sorted values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn quantiles_are_of_the_values_themselves() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| super::quantile(&values, share)), [100.0, 198.0, 200.0]);
    }
}
