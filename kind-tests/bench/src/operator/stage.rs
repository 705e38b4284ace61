//! One fleet from its first edge to the last figure.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tapir_operator::api::TapirEdge;
use tapir_rig::{Operator, Options, PATIENCE as PROMPT, Rig, Signal, Site, Version};

use super::fleet::{self, Nodeman, Size};
use super::requests::{Requests, total, writes};
use super::sidecars::Sidecars;
use super::{exposition, process};
use crate::{figure, say};

/// Nothing here should take longer.
const PATIENCE: Duration = Duration::from_mins(30);
/// Edges that are looked at without reason.
const IDLE_LOOKS: usize = 300;
const RECONCILE_TIME: &str = "controller_runtime_reconcile_time_seconds";

/// What the questions go to.
struct Watched<'a> {
    client: Client,
    http: reqwest::Client,
    metrics: String,
    requests: Requests,
    operator: &'a Operator,
}

pub(crate) fn run(size: Size, quiet: Duration) -> Result<()> {
    say(&format!("\n{} edges, {} Pods", size.edges, size.edges * size.pods_per_edge));
    let rig = Rig::start(&format!("bench-{}", size.edges), Version::V1_36, Options { controllers: true })?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let client = runtime.block_on(fleet::administrator(&rig))?;
    runtime.block_on(fleet::namespaces(&client, size))?;
    let served = format!("{{{}}}", size.namespaces().join(","));
    let site = Site::new(&rig, "fleet", &[("watchNamespaces", &served)])?;
    let core = site.core(&[])?;
    let nodeman = Nodeman::of(&core)?;
    let sidecars = runtime.block_on(async {
        fleet::referents(&client, size, &nodeman).await?;
        fleet::edges(&client, size, &nodeman).await?;
        Sidecars::start(&client).await
    })?;

    let begin = Instant::now();
    let first = site.operator("tapir-operator-0", &[])?;
    let at_first = watched(&rig, &site, &client, &first)?;
    runtime.block_on(settled(&at_first, size.edges, begin, PATIENCE))?;
    figure(&format!("operator.enrol_s_{}_edges", size.edges), begin.elapsed().as_secs_f64(), "s");
    runtime.block_on(async {
        fleet::pods(&client, size, &sidecars).await?;
        settled(&at_first, size.edges, begin, PATIENCE).await
    })?;
    end(&first)?;

    let begin = Instant::now();
    let second = site.operator("tapir-operator-1", &[])?;
    let mut watched = watched(&rig, &site, &client, &second)?;
    runtime.block_on(async {
        let cold = settled(&watched, size.edges, begin, PATIENCE).await?;
        figure(&format!("operator.cold_reconcile_s_{}_edges", size.edges), cold.as_secs_f64(), "s");
        idle(&mut watched, size, quiet).await?;
        looks_without_reason(&mut watched, size).await?;
        one_change(&mut watched, size).await
    })?;
    end(&second)?;
    site.passed()
}

/// Ends an operator as a kubelet does.
fn end(operator: &Operator) -> Result<()> {
    operator.signal(Signal::SIGTERM)?;
    operator.exit_code(PROMPT).map(|_| ())
}

fn watched<'a>(rig: &Rig, site: &Site<'_>, client: &Client, operator: &'a Operator) -> Result<Watched<'a>> {
    Ok(Watched {
        client: client.clone(),
        http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build().context("making an HTTP client")?,
        metrics: format!("{}/metrics", operator.address()),
        requests: Requests::new(&rig.audit_log(), &site.user()),
        operator,
    })
}

impl Watched<'_> {
    async fn metrics(&self) -> Result<String> {
        let answer = self.http.get(&self.metrics).send().await.context("asking for metrics")?;
        answer.text().await.context("reading metrics")
    }
}

/// Time from `begin` until all edges are enrolled and need nothing more.
async fn settled(watched: &Watched<'_>, edges: usize, begin: Instant, limit: Duration) -> Result<Duration> {
    fleet::wait("edges settled", limit, async || {
        let text = watched.metrics().await.unwrap_or_default();
        let count =
            |name: &str, labels: &[&str]| exposition::sum(&text, &format!("tapir_operator_{name}"), labels).unwrap_or(0.0);
        // An edge that waits for its turn at Core needs nothing until then.
        let enrolled = count("edge_condition", &["type=\"Enrolled\"", "status=\"True\""]);
        let count = enrolled.min(count("settled_edges", &[]));
        Ok(if count >= edges as f64 { Ok(()) } else { Err(format!("{count} of {edges}")) })
    })
    .await?;
    Ok(begin.elapsed())
}

async fn idle(watched: &mut Watched<'_>, size: Size, quiet: Duration) -> Result<()> {
    watched.requests.since()?;
    let (begin, before) = (Instant::now(), process::processor(watched.operator.process().pid())?);
    say(&format!("    {} quiet minutes", quiet.as_secs() / 60));
    tokio::time::sleep(quiet).await;
    let used = process::processor(watched.operator.process().pid())? - before;
    let (memory, count) = (process::memory(watched.operator.process().pid())?, watched.requests.since()?);
    say(&format!("    requests meanwhile: {count:?}"));
    let mib = |kib: u64| kib as f64 / 1024.0;
    say(&format!("    resident at the end {:.1} MiB, of it {:.1} MiB no file", mib(memory.now), mib(memory.anonymous)));
    figure(&format!("operator.rss_mib_{}_edges", size.edges), mib(memory.peak), "MiB");
    let suffix = if size.edges == 1000 { String::new() } else { format!("_{}_edges", size.edges) };
    figure(&format!("operator.quiet_writes{suffix}"), writes(&count) as f64, "writes");
    figure(&format!("operator.idle_cpu_percent{suffix}"), 100.0 * used / begin.elapsed().as_secs_f64(), "percent");
    Ok(())
}

/// Events that change nothing: a label that is none of ours.
async fn looks_without_reason(watched: &mut Watched<'_>, size: Size) -> Result<()> {
    let before = watched.metrics().await?;
    watched.requests.since()?;
    for (namespace, name) in size.names().take(IDLE_LOOKS) {
        let api: Api<TapirEdge> = Api::namespaced(watched.client.clone(), &namespace);
        let patch = json!({"metadata": {"labels": {"example.com/team": "dns"}}});
        api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await.context("labelling an edge")?;
    }
    let looks = IDLE_LOOKS.min(size.edges) as f64;
    let seen = |text: &str| exposition::sum(text, &format!("{RECONCILE_TIME}_count"), &["controller=\"edge\""]).unwrap_or(0.0);
    fleet::wait("looks without reason", PATIENCE, async || {
        let count = seen(&watched.metrics().await?) - seen(&before);
        Ok(if count >= looks { Ok(()) } else { Err(format!("{count} of {looks}")) })
    })
    .await?;
    let after = watched.metrics().await?;
    let suffix = if size.edges == 1000 { String::new() } else { format!("_{}_edges", size.edges) };
    let quantile = exposition::quantile(&before, &after, RECONCILE_TIME, &["controller=\"edge\""], 0.99);
    figure(&format!("operator.noop_reconcile_ms_p99{suffix}"), 1000.0 * quantile.context("no reconcile was counted")?, "ms");
    figure(&format!("operator.noop_requests{suffix}"), total(&watched.requests.since()?) as f64, "requests");
    Ok(())
}

/// A policy of a hundred edges changes.
async fn one_change(watched: &mut Watched<'_>, size: Size) -> Result<()> {
    watched.requests.since()?;
    let begin = Instant::now();
    let sees = watched.metrics().await?;
    let rounds = |text: &str| exposition::sum(text, &format!("{RECONCILE_TIME}_count"), &["controller=\"edge\""]).unwrap_or(0.0);
    fleet::change_policy(&watched.client, "bench-0", "changed.example.").await?;
    let edges = size.edges.min(fleet::EDGES_OF_A_NAMESPACE) as f64;
    fleet::wait("the policy reaches its edges", PATIENCE, async || {
        let count = rounds(&watched.metrics().await?) - rounds(&sees);
        Ok(if count >= edges { Ok(()) } else { Err(format!("{count} of {edges}")) })
    })
    .await?;
    settled(watched, size.edges, begin, PATIENCE).await?;
    let count = watched.requests.since()?;
    say(&format!("    requests for one policy of {edges} edges: {count:?}"));
    let suffix = if size.edges == 1000 { String::new() } else { format!("_{}_edges", size.edges) };
    figure(&format!("operator.requests_per_change{suffix}"), total(&count) as f64 / edges, "requests/edge");
    Ok(())
}
