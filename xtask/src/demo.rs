//! `cargo xtask demo`: from nothing to a blocked answer, told step by step.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use tapir_harness::cluster::{self, Cluster};
use tapir_harness::deploy::{Environment, Serves};
use tapir_harness::evidence;
use tapir_harness::images;
use tapir_harness::paths::{self, ClusterName};
use tapir_harness::progress::{output, say, seconds};

const NAMESPACE: &str = "dns";
const EDGE: &str = "demo";
/// Generous; the loop closes in a few seconds.
const LOOP_CLOSES_WITHIN: Duration = Duration::from_secs(30);
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// What the demo's policy answers.
const BLOCKED: &str = "NXDOMAIN";
const NO_ANSWER: &str = "no answer";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Remove what the demo made
    #[arg(long)]
    down: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.down {
        down()?;
    } else if let Err(error) = show() {
        let name = cluster_name()?;
        evidence::collect(&name, &paths::target().join("scenarios/demo"));
        say("what is there of the cluster stays for a look; `cargo xtask demo --down` removes it");
        return Err(error);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn cluster_name() -> Result<ClusterName> {
    ClusterName::parse("demo")
}

pub(crate) fn down() -> Result<()> {
    cluster::down(&cluster_name()?)?;
    say("The demo's cluster is gone: processes, network, files. Built tools and images stay in the cache for the next time:");
    say(&format!("    {}", paths::cache()?.display()));
    Ok(())
}

pub(crate) fn show() -> Result<()> {
    let started = Instant::now();
    chapter(1, "A Kubernetes cluster, and images for it, from the sources of this repository and pinned modules");
    let cluster = Cluster::up(&cluster_name()?)?;
    let built = images::build(&[])?;
    images::write_index(&built)?;
    let environment = Environment::new(&cluster, &built)?;

    chapter(2, "Around the edge: an Internet with a root zone, a development Core, and the operator by Helm");
    environment.namespace(NAMESPACE)?;
    environment.deploy(Serves::Namespace(NAMESPACE))?;

    chapter(3, "The user's part: enrolment credentials from Core, and `kubectl apply -k`");
    let node = apply_users_part(&environment)?;

    chapter(4, "The loop");
    tell_the_loop(&environment)?;
    say(&format!("\nDone in {}. The edge is node {node} of Core. Look around:", seconds(started.elapsed())));
    for line in [
        "cargo xtask cluster --name demo kubectl -n dns get tapiredge,tapirpolicy,pods",
        "cargo xtask cluster --name demo kubectl -n dns describe tapiredge demo",
        "cargo xtask cluster --name demo kubectl -n tapir-core exec deploy/core -- core-dev dump",
        "cargo xtask demo --down",
    ] {
        say(&format!("    {line}"));
    }
    Ok(())
}

fn chapter(number: u8, title: &str) {
    say(&format!("\n--- {number}. {title}\n"));
}

fn apply_users_part(environment: &Environment<'_>) -> Result<String> {
    let get = |arguments: &[&str]| output(environment.cluster().kubectl().args(["--namespace", NAMESPACE]).args(arguments));
    let exists = |object: &str| Ok::<_, anyhow::Error>(!get(&["get", object, "--ignore-not-found", "--output=name"])?.is_empty());
    // Credentials work once: a demo that is shown again goes on with the node that it has, if Core still knows it.
    let known =
        get(&["get", "secret", "demo-enrollment", "--ignore-not-found", "--output=jsonpath={.metadata.annotations.demo/node}"])?;
    let edge = exists(&format!("tapiredge/{EDGE}"))?;
    let identity = exists(&format!("secret/{EDGE}-identity"))?;
    let node = match known.as_str() {
        "" => enrol(environment)?,
        node if !environment.knows_node(node)? => {
            say(&format!("Core was replaced and has forgotten {node} (it keeps everything in memory): the edge is made anew."));
            if edge {
                let patch = r#"{"spec":{"deletionPolicy":"Delete"}}"#;
                get(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", patch])?;
                get(&["delete", "tapiredge", EDGE, "--timeout=60s"])?;
            } else if identity {
                // Kept by an edge that somebody deleted; a new one would adopt it.
                get(&["delete", "secret", &format!("{EDGE}-identity"), "--timeout=60s"])?;
            }
            enrol(environment)?
        }
        node if edge || identity => node.to_owned(),
        // Nobody can tell whether these credentials were used.
        _ => enrol(environment)?,
    };
    let authority = output(environment.cluster().kubectl().args([
        "--namespace",
        "tapir-core",
        "get",
        "configmap",
        "core-ca",
        "--output=jsonpath={.data.ca\\.crt}",
    ]))?;
    let authority = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "core-ca"}, "data": {"ca.crt": authority}});
    environment.apply(Some(NAMESPACE), &authority.to_string())?;

    say("$ kubectl apply -k examples/unbound      (with root hints for this cluster's Internet: kind-tests/demo)");
    let manifest = environment.kustomize(&paths::repository().join("kind-tests/demo"))?;
    environment.apply(Some(NAMESPACE), &manifest)?;
    let edge = format!("tapiredge/{EDGE}");
    environment
        .wait_for("the edge to be ready", &["--namespace", NAMESPACE, "wait", "--for=condition=Ready", "--timeout=2s", &edge])?;
    environment.wait_for(
        "resolver Pods with both sidecars to be ready",
        &[
            "--namespace",
            NAMESPACE,
            "wait",
            "--for=condition=Ready",
            "--timeout=2s",
            "pods",
            "--selector",
            "dnstapir.se/edge=demo",
        ],
    )?;
    say(&get(&["get", "tapiredges,tapirpolicies,pods"])?);
    Ok(node)
}

fn enrol(environment: &Environment<'_>) -> Result<String> {
    let node = format!("demo-{}.edge.tapir.test", unique());
    say(&format!("Core's administrator makes node {node}; what he hands out goes into Secret demo-enrollment."));
    let credentials = environment.create_node(&node)?;
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "demo-enrollment", "annotations": {"demo/node": node}},
        "stringData": {"credentials.json": credentials},
    });
    environment.apply(Some(NAMESPACE), &secret.to_string())?;
    Ok(node)
}

fn tell_the_loop(environment: &Environment<'_>) -> Result<()> {
    let address = output(environment.cluster().kubectl().args([
        "--namespace",
        NAMESPACE,
        "get",
        "service",
        "unbound",
        "--output=jsonpath={.spec.clusterIP}",
    ]))?;
    let name = format!("demo-{}.from-edge.looptest.dnstapir.se", unique());
    say(&format!("Nobody ever asked for {name}. The first time, the resolver answers as the Internet does:\n"));
    let before = first_answer(environment, &address, &name)?;
    shown(&address, &name, &before);
    say(
        "Meanwhile: unbound told the EDM sidecar by dnstap; EDM saw a new name and sent a signed event over MQTT; Core verified it\nand answered with a signed observation; the POP sidecar verified that, applied the TapirPolicy, published the RPZ and notified\nunbound, which transferred it.\n",
    );
    let asked = Instant::now();
    let last = repeat(LOOP_CLOSES_WITHIN, || environment.dig(&address, &name), |status| status == BLOCKED)
        .with_context(|| format!("the loop did not close within {}", seconds(LOOP_CLOSES_WITHIN)))?;
    say(&format!("After {}, the same question:\n", seconds(asked.elapsed())));
    shown(&address, &name, &last);
    say(&format!("The policy's answer: {}.", status(&last)));
    Ok(())
}

/// Pods that are ready may not be in their Service yet.
fn first_answer(environment: &Environment<'_>, address: &str, name: &str) -> Result<String> {
    // An answer of any kind ends the wait: asking again would find what the first question has set off.
    let answer = repeat(FIRST_ANSWER_WITHIN, || environment.dig(address, name), |status| status != NO_ANSWER)
        .context("the first question")?;
    if status(&answer) != "NOERROR" {
        bail!("the first answer should be NOERROR, it is {}", status(&answer));
    }
    Ok(answer)
}

/// Asks until the response code is the wanted one. Other codes and errors may be passing; the last of them is told in the end.
fn repeat(limit: Duration, mut ask: impl FnMut() -> Result<String>, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let begun = Instant::now();
    loop {
        let error = match ask() {
            Ok(answer) if wanted(status(&answer)) => return Ok(answer),
            Ok(answer) => anyhow!("the last answer was {}:\n{}", status(&answer), answer.trim()),
            Err(error) => error,
        };
        if begun.elapsed() > limit {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(250));
    }
}

fn shown(address: &str, name: &str, output: &str) {
    say(&format!("$ dig @{address} {name} A"));
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        say(&format!("    {line}"));
    }
    say("");
}

/// The response code, as dig spells it.
fn status(output: &str) -> &str {
    output.lines().find_map(|line| line.split_once("status: ")?.1.split(',').next()).unwrap_or(NO_ANSWER)
}

fn unique() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock").map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::{BLOCKED, repeat};

    #[test]
    fn only_the_policys_answer_ends_the_wait() {
        let mut answers = vec![
            Err(anyhow!("exec failed")),
            Ok("status: SERVFAIL, id: 1".to_owned()),
            Ok(String::new()),
            Ok("status: NXDOMAIN, id: 2".to_owned()),
        ]
        .into_iter();
        let found = repeat(Duration::from_secs(60), || answers.next().unwrap(), |status| status == BLOCKED).unwrap();
        assert_eq!(found, "status: NXDOMAIN, id: 2");
        let error = repeat(Duration::ZERO, || Ok("status: REFUSED, id: 3".to_owned()), |status| status == BLOCKED).unwrap_err();
        assert!(error.to_string().contains("REFUSED"));
    }
}
