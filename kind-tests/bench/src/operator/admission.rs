//! What injection adds to the creation of a Pod, in a namespace with a hundred edges.

use std::time::Instant;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use tapir_rig::{Options, Rig, Site, Version};

use super::fleet::{self, Nodeman, Size};
use crate::figure;

/// Pairs of Pods, with and without the label, in turn.
const PAIRS: usize = 200;
const EDGES: usize = 100;

/// Both ways of injection.
pub(crate) fn run() -> Result<()> {
    for (mode, name) in [("Policy", "operator.admission_policy_ms_p50"), ("Webhook", "operator.admission_webhook_ms_p50")] {
        figure(name, added(mode)?, "ms");
    }
    Ok(())
}

fn added(mode: &str) -> Result<f64> {
    let size = Size { edges: EDGES, pods_per_edge: 0 };
    let rig = Rig::start(&format!("bench-{}", mode.to_lowercase()), Version::V1_36, Options::default())?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let client = runtime.block_on(fleet::administrator(&rig))?;
    runtime.block_on(fleet::namespaces(&client, size))?;
    let site = Site::new(&rig, "admission", &[("watchNamespaces", "{bench-0}"), ("injection.mode", mode)])?;
    let core = site.core(&[])?;
    let nodeman = Nodeman::of(&core)?;
    runtime.block_on(async {
        fleet::referents(&client, size, &nodeman).await?;
        fleet::edges(&client, size, &nodeman).await
    })?;
    let listen = match mode {
        "Webhook" => Some(site.webhook_without_service()?),
        _ => None,
    };
    let environment = listen.as_deref().map(|listen| [("WEBHOOK_LISTEN", listen), ("WEBHOOK_NAMES", "localhost")]);
    let _operator = site.operator("tapir-operator-0", environment.as_ref().map_or(&[], |environment| &environment[..]))?;
    let added = runtime.block_on(async {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "bench-0");
        fleet::wait("Pods are injected", std::time::Duration::from_mins(5), async || {
            let last = create(&pods, EDGES - 1, true).await?.1;
            Ok(if last == 3 { Ok(()) } else { Err(format!("{last} containers")) })
        })
        .await?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for number in 0..PAIRS {
            without.push(create(&pods, number % EDGES, false).await?.0);
            with.push(create(&pods, number % EDGES, true).await?.0);
        }
        anyhow::Ok(median(with) - median(without))
    })?;
    site.passed()?;
    Ok(added)
}

/// Milliseconds, and containers that came of it.
async fn create(pods: &Api<Pod>, edge: usize, labelled: bool) -> Result<(f64, usize)> {
    let pod: Pod = serde_json::from_value(fleet::pod("try", &format!("edge-{edge}"), labelled)).context("making a Pod")?;
    let begin = Instant::now();
    let made = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await.context("creating a Pod")?;
    Ok((begin.elapsed().as_secs_f64() * 1000.0, made.spec.map_or(0, |spec| spec.containers.len())))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
