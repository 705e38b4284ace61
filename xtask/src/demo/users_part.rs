//! What a user does, done as a user would: credentials, and one `kubectl apply -k`.

use std::time::Duration;

use anyhow::Result;
use tapir_harness::deploy::Environment;
use tapir_harness::paths;
use tapir_harness::progress::{NotYet, ask, output, say, wait_for};

use super::{EDGE, NAMESPACE, unique};

/// Images are there already; Pods may have to be replaced.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// The example may be changed before it is applied.
pub(crate) fn apply(environment: &Environment<'_>, change: impl FnOnce(String) -> String) -> Result<String> {
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

    say(
        "Edge, policy and resolvers come in one go, as GitOps would bring them. So the resolvers' Pods are there before the edge, and are",
    );
    say("replaced, one beside another, as soon as there is something to inject.\n");
    say("$ kubectl apply -k examples/unbound      (with root hints for this cluster's Internet: kind-tests/demo)");
    let manifest = environment.kustomize(&paths::repository().join("kind-tests/demo"))?;
    environment.apply(Some(NAMESPACE), &change(manifest))?;
    ready(environment)?;
    say("\n$ kubectl get tapiredges,tapirpolicies,pods");
    say(get(&["get", "tapiredges,tapirpolicies,pods"])?.trim_end());
    Ok(node)
}

/// First the Pods, then what the edge says of them, which is also what a person who waits wants to read.
fn ready(environment: &Environment<'_>) -> Result<()> {
    let selector = format!("--selector=dnstapir.se/edge={EDGE}");
    let pods = "--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let edge = "--output=jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.message}{end}";
    wait_for("the edge to be ready, with both sidecars in its Pods", READY_WITHIN, || {
        let get =
            |arguments: &[&str]| ask(environment.cluster().kubectl().args(["--namespace", NAMESPACE, "get"]).args(arguments));
        let settled = get(&["pods", &selector, pods])?.and_then(|text| none_is_ending(&text));
        let said = get(&["tapiredge", EDGE, edge])?.and_then(|text| readiness(&text));
        Ok(said.and(settled))
    })
}

/// From names and times of deletion.
fn none_is_ending(text: &str) -> Result<(), NotYet> {
    let ending = text.lines().filter_map(|line| line.split_once(' ')).find(|(_, deleted)| !deleted.is_empty());
    ending.map_or(Ok(()), |(pod, _)| {
        let message = format!("Pod {pod}, which is replaced, has not ended yet");
        Err(NotYet { progress: message.clone(), failure: message })
    })
}

/// From status and message of the condition.
fn readiness(text: &str) -> Result<(), NotYet> {
    match text.split_once(' ') {
        Some(("True", _)) => Ok(()),
        Some((_, message)) => Err(NotYet { progress: message.to_owned(), failure: message.to_owned() }),
        None => Err(NotYet { progress: String::new(), failure: "the operator has not said anything of the edge".to_owned() }),
    }
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

#[cfg(test)]
mod tests {
    use super::{none_is_ending, readiness};

    #[test]
    fn pods_on_their_way_out_are_waited_for() {
        assert_eq!(none_is_ending("unbound-a \nunbound-b \n"), Ok(()));
        let waiting = none_is_ending("unbound-a \nunbound-b 2026-11-21T07:53:31Z\n").unwrap_err();
        assert!(waiting.progress.contains("unbound-b"), "{}", waiting.progress);
    }

    #[test]
    fn the_edges_own_words_are_shown_while_it_is_not_ready() {
        assert_eq!(readiness("True everything is as it should be"), Ok(()));
        assert_eq!(readiness("False no Pod carries the label").unwrap_err().progress, "no Pod carries the label");
        assert!(readiness("").unwrap_err().failure.contains("not said anything"));
    }
}
