//! A fleet as an ISP's: namespaces of a hundred edges each, their policies, credentials and Pods.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tapir_operator::api::{TapirEdge, TapirPolicy};
use tapir_rig::Rig;

use super::sidecars::Sidecars;

/// Edges in one namespace.
pub(crate) const EDGES_OF_A_NAMESPACE: usize = 100;
/// Writes under way at the same time.
const WRITERS: usize = 48;
const POLICY: &str = "default";
const NODE: &str = "bench";
/// The resolver and both sidecars.
const CONTAINERS: usize = 3;

/// How many of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) edges: usize,
    pub(crate) pods_per_edge: usize,
}

/// Where new nodes come from.
pub(crate) struct Nodeman {
    client: reqwest::Client,
    url: String,
    ca: String,
}

impl Nodeman {
    pub(crate) fn of(core: &tapir_rig::Core) -> Result<Self> {
        let ca = core.ca().to_owned();
        let root = reqwest::Certificate::from_pem(ca.as_bytes()).context("reading the dev Core's CA")?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().context("making an HTTP client")?;
        Ok(Self { client, url: core.url().to_owned(), ca })
    }
}

impl Size {
    pub(crate) fn namespaces(self) -> Vec<String> {
        (0..self.edges.div_ceil(EDGES_OF_A_NAMESPACE)).map(|number| format!("bench-{number}")).collect()
    }

    fn edge(number: usize) -> (String, String) {
        (format!("bench-{}", number / EDGES_OF_A_NAMESPACE), format!("edge-{number}"))
    }

    /// Edges by namespace and name.
    pub(crate) fn names(self) -> impl Iterator<Item = (String, String)> {
        (0..self.edges).map(Self::edge)
    }
}

/// The API server with all rights.
pub(crate) async fn administrator(rig: &Rig) -> Result<Client> {
    let kubeconfig = rig.kubeconfig_as("rig-admin", &["system:masters"])?;
    let kubeconfig = Kubeconfig::from_yaml(&kubeconfig).context("reading a kubeconfig")?;
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.context("reading a kubeconfig")?;
    Client::try_from(config).context("making a client")
}

/// Namespaces, as the control plane makes them, and a node.
pub(crate) async fn namespaces(client: &Client, size: Size) -> Result<()> {
    for name in size.namespaces() {
        make(&Api::all(client.clone()), object::<Namespace>(json!({"metadata": {"name": name}}))?).await?;
    }
    make(&Api::all(client.clone()), object::<Node>(json!({"metadata": {"name": NODE}}))?).await
}

/// What each edge refers to.
pub(crate) async fn referents(client: &Client, size: Size, nodeman: &Nodeman) -> Result<()> {
    for name in size.namespaces() {
        let map = json!({"metadata": {"name": "core-ca"}, "data": {"ca.crt": nodeman.ca}});
        make(&Api::namespaced(client.clone(), &name), object::<ConfigMap>(map)?).await?;
        make(&Api::namespaced(client.clone(), &name), object::<TapirPolicy>(policy(&["blocked.example."]))?).await?;
        account(client, &name).await?;
    }
    Ok(())
}

/// Pods need it. Kubernetes' own controller makes it where it runs.
async fn account(client: &Client, namespace: &str) -> Result<()> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let account = object::<ServiceAccount>(json!({"metadata": {"name": "default"}}))?;
    match api.create(&PostParams::default(), &account).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(drop).context("making a ServiceAccount"),
    }
}

/// The policy that all edges of a namespace share.
pub(crate) fn policy(denied: &[&str]) -> Value {
    json!({
        "apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirPolicy", "metadata": {"name": POLICY},
        "spec": {
            "sources": [
                {"name": "dns-tapir", "list": "Doubt", "core": {}},
                {"name": "own", "list": "Deny", "inline": {"names": denied}},
            ],
            "doubt": [{"name": "new", "anyTags": ["globally_new"], "action": "NXDOMAIN"}],
        },
    })
}

/// Changes the policy of one namespace.
pub(crate) async fn change_policy(client: &Client, namespace: &str, denied: &str) -> Result<()> {
    let api: Api<TapirPolicy> = Api::namespaced(client.clone(), namespace);
    let patch = json!({"spec": policy(&["blocked.example.", denied]).get("spec")});
    api.patch(POLICY, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop).context("changing the policy")
}

/// All edges, each with the credentials of a node of its own.
pub(crate) async fn edges(client: &Client, size: Size, nodeman: &Nodeman) -> Result<()> {
    all(size.names(), async |(namespace, name)| {
        let node = format!("{name}.edge.tapir.test");
        let request = nodeman.client.post(format!("{}api/v1/node", nodeman.url)).basic_auth("admin", Some("secret"));
        let answer = request.json(&json!({"name": node})).send().await.context("asking the dev Core for a node")?;
        if !answer.status().is_success() {
            bail!("the dev Core refuses node {node}: {}", answer.status());
        }
        let credentials = answer.text().await.context("reading credentials")?;
        let secret = json!({"metadata": {"name": format!("{name}-enrollment")}, "stringData": {"credentials.json": credentials}});
        make(&Api::namespaced(client.clone(), &namespace), object::<Secret>(secret)?).await?;
        let edge = json!({
            "apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge", "metadata": {"name": name},
            "spec": {
                "enrollment": {"credentialsSecretRef": {"name": format!("{name}-enrollment")}},
                "core": {"caBundle": {"configMapRef": {"name": "core-ca"}}},
                "resolver": {"container": "unbound"},
                "pop": {"policyRef": {"name": POLICY}},
            },
        });
        make(&Api::namespaced(client.clone(), &namespace), object::<TapirEdge>(edge)?).await
    })
    .await
}

/// A Pod with both sidecars. The API server follows its policies and bindings with a moment's delay: one that came too early is made again.
async fn injected(api: &Api<Pod>, name: &str, edge: &str) -> Result<Pod> {
    let made = Cell::new(None);
    wait(&format!("Pod {name} of {edge} is injected"), Duration::from_mins(1), async || {
        let pod = make_and_get(api, object::<Pod>(pod(name, edge, true))?).await?;
        let found = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
        if found == CONTAINERS {
            made.set(Some(pod));
            return Ok(Ok(()));
        }
        api.delete(name, &DeleteParams::default().grace_period(0)).await.context("removing a Pod that came too early")?;
        Ok(Err(format!("{found} containers")))
    })
    .await?;
    made.into_inner().context("the Pod that was made")
}

/// All Pods, injected by the API server and said to run.
pub(crate) async fn pods(client: &Client, size: Size, sidecars: &Sidecars) -> Result<()> {
    let wanted = (0..size.edges * size.pods_per_edge).map(|number| (number, Size::edge(number / size.pods_per_edge)));
    all(wanted, async |(number, (namespace, edge))| {
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let name = format!("resolver-{number}");
        let pod = injected(&api, &name, &edge).await?;
        let address = address(number);
        let containers = pod.spec.as_ref().map(|spec| spec.containers.clone()).unwrap_or_default();
        let ready: Vec<Value> = containers
            .iter()
            .map(|container| {
                json!({
                    "name": container.name, "image": container.image, "imageID": container.image, "ready": true, "restartCount": 0, "started": true,
                    "containerID": format!("bench://{number}-{}", container.name), "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                })
            })
            .collect();
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": ready, "startTime": "2026-01-01T00:00:00Z",
            "conditions": conditions,
        }});
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.context("setting a Pod's status")?;
        sidecars.add(address, &namespace, &edge);
        Ok(())
    })
    .await
}

/// A resolver Pod; without the label it is none of ours.
pub(crate) fn pod(name: &str, edge: &str, labelled: bool) -> Value {
    let labels = if labelled { json!({"dnstapir.se/edge": edge}) } else { json!({"dnstapir.se/nothing": edge}) };
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": NODE, "containers": [{"name": "unbound", "image": "tapir.local/unbound:bench"}]},
    })
}

fn address(number: usize) -> IpAddr {
    let low = u32::try_from(number).unwrap_or_default();
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 0)) + low).into()
}

/// Waits for `done`, which says how far it is.
pub(crate) async fn wait(
    what: &str,
    limit: Duration,
    mut done: impl AsyncFnMut() -> Result<Result<(), String>>,
) -> Result<Duration> {
    let begin = Instant::now();
    let mut said = Instant::now();
    loop {
        let asked = Instant::now();
        let state = match done().await? {
            Ok(()) => return Ok(begin.elapsed()),
            Err(state) => state,
        };
        // What is asked has its price, and is not what is measured.
        let pause = (10 * asked.elapsed()).max(Duration::from_millis(200));
        if begin.elapsed() > limit {
            bail!("{what}: not within {} s: {state}", limit.as_secs());
        }
        if said.elapsed() > Duration::from_secs(5) {
            crate::say(&format!("    {what}: {state}"));
            said = Instant::now();
        }
        tokio::time::sleep(pause).await;
    }
}

async fn all<T>(items: impl Iterator<Item = T>, work: impl AsyncFn(T) -> Result<()>) -> Result<()> {
    let mut results = stream::iter(items).map(|item| work(item)).buffer_unordered(WRITERS);
    while let Some(result) = results.next().await {
        result?;
    }
    Ok(())
}

fn object<K: DeserializeOwned>(value: Value) -> Result<K> {
    serde_json::from_value(value).context("making an object of the bench")
}

async fn make<K>(api: &Api<K>, object: K) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    make_and_get(api, object).await.map(drop)
}

async fn make_and_get<K>(api: &Api<K>, object: K) -> Result<K>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {:?}", object.meta().name))
}
