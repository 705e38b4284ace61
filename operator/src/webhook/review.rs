//! One `AdmissionReview`: in, judged, out. Whatever goes wrong, the Pod is admitted as it is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Resource as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tapir_inject::{EDGE_LABEL, Verdict, inject};

use crate::api::TapirEdge;

/// The API server waits two seconds for the whole.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Names of namespaces and objects, in octets.
const LONGEST_NAME: usize = 253;

/// What is asked. The rest of the review is of no interest.
#[derive(Debug, Deserialize)]
pub(super) struct Review {
    request: Asked,
}

#[derive(Debug, Deserialize)]
struct Asked {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    resource: Asking,
    #[serde(default)]
    object: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Asking {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resource: String,
}

/// What came of a review, for counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The Pod got its sidecars.
    Patched,
    /// It is left alone, by the condition of this name.
    Skipped(&'static str),
    /// It is admitted as it is because something went wrong.
    Failed(&'static str),
}

/// Answers a review.
pub(super) async fn answer(client: &Client, review: &Review) -> (Value, Outcome) {
    let asked = &review.request;
    let (operations, outcome) = match judge(client, asked).await {
        Ok(Verdict::Patch(operations)) => (Some(operations), Outcome::Patched),
        Ok(Verdict::Skip(why)) => (None, Outcome::Skipped(why.condition())),
        Err(reason) => (None, Outcome::Failed(reason)),
    };
    let mut response = json!({"uid": asked.uid, "allowed": true});
    // A patch that cannot be written is no reason to refuse a Pod either.
    if let Some(patch) = operations.and_then(|operations| serde_json::to_vec(&operations).ok()) {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(patch).into();
    }
    (json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}), outcome)
}

async fn judge(client: &Client, asked: &Asked) -> Result<Verdict, &'static str> {
    let (pod, namespace) = (&asked.object, asked.namespace.as_str());
    if asked.operation != "CREATE" || !asked.resource.group.is_empty() || asked.resource.resource != "pods" {
        return Err("not_a_new_pod");
    }
    let edge = pod["metadata"]["labels"][EDGE_LABEL].as_str().unwrap_or_default();
    // Both become part of a path.
    if !is_name(edge) || !is_name(namespace) {
        return Err("no_edge_named");
    }
    match tokio::time::timeout(LOOK_LIMIT, injection(client, namespace, edge)).await {
        Ok(Ok(Some(injection))) => Ok(inject(pod, edge, &injection)),
        Ok(Ok(None)) => Err("unknown_edge"),
        Ok(Err(error)) => {
            tracing::warn!(namespace, edge, error = %error, "cannot look at the edge of a new Pod, which goes without sidecars");
            Err("edge_not_read")
        }
        Err(_) => {
            tracing::warn!(
                namespace,
                edge,
                "the API server did not show the edge of a new Pod in time; the Pod goes without sidecars"
            );
            Err("edge_too_late")
        }
    }
}

/// `status.injection` as it stands, null while there is none; none when there is no edge. Asked of the API server each time: a replica that
/// does not lead has no cache, and what is read is never older than what the API server itself would use. It answers from its memory.
async fn injection(client: &Client, namespace: &str, edge: &str) -> Result<Option<Value>, kube::Error> {
    let anything = GetParams { resource_version: Some("0".to_owned()) };
    let request = Request::new(TapirEdge::url_path(&(), Some(namespace)));
    let request = request.get(edge, &anything).map_err(kube::Error::BuildRequest)?;
    match client.request::<Value>(request).await {
        Ok(mut edge) => Ok(Some(edge["status"]["injection"].take())),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// As Kubernetes names objects (RFC 1123 section 2.1).
fn is_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = [text.as_bytes().first(), text.as_bytes().last()];
    text.len() <= LONGEST_NAME
        && ends.iter().all(|end| end.is_some_and(|c| plain(*c)))
        && text.bytes().all(|c| plain(c) || c == b'-' || c == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_become_part_of_a_path_are_names() {
        for good in ["a", "stockholm", "edge-1.north"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a%2fb", "a?b", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(!is_name(&"a".repeat(254)));
    }
}
