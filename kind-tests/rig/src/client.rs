//! The API server as one user sees it: plain JSON, so that a test sees exactly what a user would.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use serde_json::Value;
use tapir_harness::certificates::Pair;

use crate::http::{self, Answer};

/// A resource: the path of its API, and its plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub &'static str, pub &'static str);

pub const NAMESPACES: Kind = Kind("/api/v1", "namespaces");
pub const SECRETS: Kind = Kind("/api/v1", "secrets");
pub const CONFIG_MAPS: Kind = Kind("/api/v1", "configmaps");
pub const PODS: Kind = Kind("/api/v1", "pods");
pub const SERVICES: Kind = Kind("/api/v1", "services");
pub const SERVICE_ACCOUNTS: Kind = Kind("/api/v1", "serviceaccounts");
pub const EVENTS: Kind = Kind("/apis/events.k8s.io/v1", "events");
pub const DEPLOYMENTS: Kind = Kind("/apis/apps/v1", "deployments");
pub const LEASES: Kind = Kind("/apis/coordination.k8s.io/v1", "leases");
pub const DEFINITIONS: Kind = Kind("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions");
pub const BINDINGS: Kind = Kind("/apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings");
pub const WEBHOOKS: Kind = Kind("/apis/admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations");
pub const EDGES: Kind = Kind("/apis/dnstapir.se/v1alpha1", "tapiredges");
pub const POLICIES: Kind = Kind("/apis/dnstapir.se/v1alpha1", "tapirpolicies");

/// What the API server said no with; the error that [`Api`]'s functions give unless it could not be asked at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub reason: String,
    /// The words that a user gets.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}: {}", self.status, self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}

/// The API server, with one user's rights. An empty namespace means a resource without one, or all of them in a list.
#[derive(Debug, Clone)]
pub struct Api {
    server: String,
    client: Client,
}

impl Api {
    pub(crate) fn new(server: &str, ca: &str, user: &Pair) -> Result<Self> {
        Ok(Self { server: server.to_owned(), client: http::client(Some(ca), Some(user))? })
    }

    /// `None` when it is not there.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        let answer = self.raw(Method::GET, &path(kind, namespace, name), None)?;
        if answer.status == 404 { Ok(None) } else { accepted(&answer).map(Some) }
    }

    /// The object, which must be there.
    pub fn read(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value> {
        self.get(kind, namespace, name)?.with_context(|| format!("{} {namespace}/{name} is not there", kind.1))
    }

    pub fn list(&self, kind: Kind, namespace: &str) -> Result<Vec<Value>> {
        let mut list = accepted(&self.raw(Method::GET, &path(kind, namespace, ""), None)?)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    pub fn create(&self, kind: Kind, namespace: &str, object: &Value) -> Result<Value> {
        accepted(&self.raw(Method::POST, &path(kind, namespace, ""), Some(("application/json", object)))?)
    }

    /// As `create`, but for the API server's opinion only.
    pub fn try_create(&self, kind: Kind, namespace: &str, object: &Value) -> Result<Value> {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", path(kind, namespace, ""));
        accepted(&self.raw(Method::POST, &path, Some(("application/json", object)))?)
    }

    pub fn replace(&self, kind: Kind, namespace: &str, object: &Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        accepted(&self.raw(Method::PUT, &path(kind, namespace, name), Some(("application/json", object)))?)
    }

    /// Merge patch (RFC 7386). `name` may go on with a subresource: `demo/status`.
    pub fn merge(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value> {
        accepted(&self.raw(Method::PATCH, &path(kind, namespace, name), Some(("application/merge-patch+json", patch)))?)
    }

    /// Gone already is as good.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<()> {
        let answer = self.raw(Method::DELETE, &path(kind, namespace, name), None)?;
        if answer.status == 404 { Ok(()) } else { accepted(&answer).map(|_| ()) }
    }

    /// Any request; an error only when there was no answer.
    pub fn raw(&self, method: Method, path: &str, body: Option<(&str, &Value)>) -> Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.server));
        if let Some((content, body)) = body {
            request = request.header("content-type", content).body(body.to_string());
        }
        http::send(request).context("asking the API server")
    }
}

/// One condition of an object: status, reason and message.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let found = object["status"]["conditions"].as_array()?.iter().find(|entry| entry["type"] == kind)?;
    Some((text(&found["status"]), text(&found["reason"]), text(&found["message"])))
}

/// A JSON string, empty when it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The octets behind a member of a Secret's `data`.
pub fn decoded(value: &Value) -> Result<Vec<u8>> {
    STANDARD.decode(text(value)).context("decoding a member of a Secret")
}

fn path(Kind(api, plural): Kind, namespace: &str, name: &str) -> String {
    let mut path = api.to_owned();
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    for part in [plural, name] {
        if !part.is_empty() {
            path.push('/');
            path.push_str(part);
        }
    }
    path
}

/// The object of an answer, or the [`Refusal`].
pub fn accepted(answer: &Answer) -> Result<Value> {
    let body = answer.json();
    if (200..300).contains(&answer.status) {
        return Ok(body);
    }
    let message = body["message"].as_str().map_or_else(|| answer.text.clone(), str::to_owned);
    Err(Refusal { status: answer.status, reason: text(&body["reason"]), message }.into())
}

#[cfg(test)]
mod tests {
    use super::{EDGES, NAMESPACES, path};

    #[test]
    fn a_path_names_what_there_is() {
        assert_eq!(path(EDGES, "dns", "demo/status"), "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/demo/status");
        assert_eq!(path(EDGES, "", ""), "/apis/dnstapir.se/v1alpha1/tapiredges");
        assert_eq!(path(NAMESPACES, "", "dns"), "/api/v1/namespaces/dns");
    }
}
