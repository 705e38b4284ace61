//! A release that serves one namespace by a Role there: the namespace can be deleted, and the release uninstalled, at any moment.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tapir_scenarios::cluster::cluster;
use tapir_scenarios::dig::{Answer, dig};
use tapir_scenarios::objects::items;
use tapir_scenarios::scene::{EDGE, Scene};
use tapir_scenarios::wait;

const RELEASE: &str = "narrow";
const NAME: &str = "narrow-tapir-operator";
const GONE_WITHIN: Duration = Duration::from_secs(60);

fn scale(namespace: &str, deployment: &str, replicas: u32) -> Result<()> {
    cluster().kubectl(&["--namespace", namespace, "scale", "deployment", deployment, &format!("--replicas={replicas}")])?;
    wait::until_true(&format!("{replicas} Pods of {deployment}"), Duration::from_secs(90), || {
        let pods = items(cluster().get(namespace, &["pods", "--selector", "app.kubernetes.io/name=tapir-operator"])?);
        let ready = pods.iter().filter(|pod| tapir_scenarios::objects::is_ready(pod)).count();
        Ok(pods.len() == replicas as usize && ready == pods.len())
    })
}

/// The operator that serves every namespace is away as long as this lives.
struct Wide;

impl Wide {
    fn away() -> Result<Self> {
        let guard = Self;
        scale("tapir-system", "tapir-operator", 0)?;
        Ok(guard)
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        let _ = scale("tapir-system", "tapir-operator", 1);
    }
}

/// A release that serves one namespace; nothing of it is left afterwards.
struct Narrow {
    namespace: String,
}

impl Narrow {
    fn install(namespace: &str, serves: Option<&str>) -> Result<Self> {
        let guard = Self { namespace: namespace.to_owned() };
        let chart = cluster().repo.join("charts/tapir-operator").to_string_lossy().into_owned();
        let mut command: Vec<String> =
            ["install", RELEASE, &chart, "--namespace", namespace, "--create-namespace"].map(str::to_owned).into();
        for (setting, image) in [("operator", "tapir-operator"), ("edm", "tapir-edm"), ("pop", "tapir-pop")] {
            command.extend(["--set-string".to_owned(), format!("images.{setting}={}", cluster().image(image)?)]);
        }
        command.extend(serves.iter().flat_map(|served| ["--set".to_owned(), format!("watchNamespaces={{{served}}}")]));
        cluster().helm(&command.iter().map(String::as_str).collect::<Vec<_>>())?;
        scale(namespace, NAME, 1)?;
        Ok(guard)
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        let _ = cluster().helm(&["uninstall", RELEASE, "--namespace", &self.namespace]);
        // Where the release was recorded in a namespace that is gone.
        let kinds = "clusterroles,clusterrolebindings,mutatingadmissionpolicies,validatingadmissionpolicies,validatingadmissionpolicybindings";
        let _ = cluster().kubectl(&["delete", kinds, "--selector", &format!("app.kubernetes.io/instance={RELEASE}")]);
        let _ = cluster().kubectl(&["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"]);
    }
}

fn enrolled(scene: &Scene) -> Result<()> {
    scene.credentials()?;
    scene.apply_example()?;
    scene.wait_ready()
}

fn delete_namespace(scene: &Scene) -> Result<()> {
    cluster().kubectl(&["delete", "namespace", &scene.namespace, "--wait=false"]).map(|_| ())
}

fn namespace_goes(scene: &Scene) -> Result<()> {
    let selector = format!("metadata.name={}", scene.namespace);
    let find = || Ok::<_, anyhow::Error>(items(cluster().get("default", &["namespaces", "--field-selector", &selector])?));
    wait::until_true(&format!("namespace {} is gone", scene.namespace), GONE_WITHIN, || Ok(find()?.is_empty()))
        .with_context(|| find().map_or_else(|error| error.to_string(), |left| format!("{}", left[0]["status"])))
}

#[test]
fn a_served_namespace_is_deleted() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::new("nsgone")?;
    let _wide = Wide::away()?;
    let _narrow = Narrow::install("tapir-narrow-gone", Some(&scene.namespace))?;
    enrolled(&scene)?;
    delete_namespace(&scene)?;
    namespace_goes(&scene)?;
    scene.passed()
}

#[test]
fn a_served_namespace_is_deleted_while_the_operator_is_absent_and_goes_when_it_is_back() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::new("nsabsent")?;
    let _wide = Wide::away()?;
    let narrow = Narrow::install("tapir-narrow-absent", Some(&scene.namespace))?;
    enrolled(&scene)?;
    scale(&narrow.namespace, NAME, 0)?;
    delete_namespace(&scene)?;
    wait::until_true("the namespace controller has been through everything", Duration::from_secs(60), || {
        let edge = scene.edge()?;
        let maps = items(cluster().get(&scene.namespace, &["configmaps"])?);
        Ok(edge["metadata"]["deletionTimestamp"].is_string() && maps.is_empty())
    })?;
    for kind in ["role", "rolebinding"] {
        assert!(cluster().get(&scene.namespace, &[kind, NAME])?.is_some(), "the operator's {kind} went before its edge");
    }
    scale(&narrow.namespace, NAME, 1)?;
    namespace_goes(&scene)?;
    scene.passed()
}

#[test]
fn the_namespace_of_operator_and_edge_alike_is_deleted() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::new("nsown")?;
    let _wide = Wide::away()?;
    let _narrow = Narrow::install(&scene.namespace, None)?;
    enrolled(&scene)?;
    delete_namespace(&scene)?;
    namespace_goes(&scene)?;
    scene.passed()
}

#[test]
fn a_namespace_with_an_identity_that_its_edge_left_is_deleted_also_without_any_operator() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::new("nsleft")?;
    enrolled(&scene)?;
    scene.kubectl(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
    assert!(cluster().get(&scene.namespace, &["secret", "demo-identity"])?.is_some(), "the identity outlives the edge");
    let _wide = Wide::away()?;
    delete_namespace(&scene)?;
    namespace_goes(&scene)?;
    scene.passed()
}

#[test]
fn a_release_is_uninstalled_while_an_edge_exists_and_the_edge_goes_on_under_the_next_operator() -> Result<()> {
    let _guard = crate::exclusive();
    let scene = Scene::new("uninstall")?;
    let wide = Wide::away()?;
    let narrow = Narrow::install("tapir-narrow-uninstall", Some(&scene.namespace))?;
    enrolled(&scene)?;
    let identity = || cluster().get(&scene.namespace, &["secret", "demo-identity"])?.context("the identity");
    let before = identity()?;
    cluster().helm(&["uninstall", RELEASE, "--namespace", &narrow.namespace, "--wait", "--timeout", "60s"])?;
    // The rights go at once: nothing holds them back when it is not the namespace that is deleted.
    for kind in ["role", "rolebinding"] {
        assert!(cluster().get(&scene.namespace, &[kind, NAME])?.is_none(), "the {kind} stayed");
    }
    // The edge, its identity and its sidecars stay.
    assert!(scene.edge()?["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(identity()?["data"], before["data"]);
    assert!(matches!(dig(&scene.service_address()?, "www.example.se")?, Answer::Records(_)));
    drop((narrow, wide));
    scene.kubectl(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
    assert_eq!(identity()?["data"], before["data"]);
    scene.passed()
}
