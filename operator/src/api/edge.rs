//! `TapirEdge`: one node of DNS TAPIR and the resolver Pods that it serves.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resources::Resources;
use super::schema::{DATA_KEY, DNS_LABEL, OBJECT_NAME};
use super::status::TapirEdgeStatus;

/// One node of DNS TAPIR Edge: its enrolment, and the sidecars of the Pods labelled `dnstapir.se/edge: <name>`.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "dnstapir.se",
    version = "v1alpha1",
    kind = "TapirEdge",
    plural = "tapiredges",
    shortname = "tedge",
    category = "tapir",
    namespaced,
    status = "TapirEdgeStatus",
    derive = "PartialEq",
    doc = "One node of DNS TAPIR Edge: its enrolment, and the sidecars of the Pods labelled `dnstapir.se/edge: <name>`.",
    validation = (
        "self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name becomes the value of a label and the stem of other names: use at most 50 lower-case letters, digits and hyphens, no dots"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node.name"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.matched"),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.pods.injected"),
    printcolumn(name = "Certificate until", type_ = "date", json_path = ".status.node.certificate.notAfter", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.edm.enabled || self.pop.enabled",
    "spec.edm.enabled and spec.pop.enabled are both false: enable one, or delete the TapirEdge"
))]
#[x_kube(validation = (
    "!self.pop.enabled || has(self.pop.policyRef)",
    "spec.pop.policyRef is missing: name a TapirPolicy of this namespace, or set spec.pop.enabled to false"
))]
pub struct TapirEdgeSpec {
    /// How the node is enrolled at DNS TAPIR Core.
    pub enrollment: EnrollmentSpec,
    /// How Core is reached.
    #[serde(default)]
    pub core: CoreSpec,
    /// The resolver in the Pods.
    pub resolver: ResolverSpec,
    /// The sidecar that minimises what the resolver saw and reports new names.
    #[serde(default)]
    pub edm: EdmSpec,
    /// The sidecar that turns observations and lists into a response policy zone.
    #[serde(default)]
    pub pop: PopSpec,
    /// What becomes of the identity Secret when this resource is deleted. Core neither replaces a data key nor reuses a node name, so
    /// a deleted identity is lost for good.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// How the node is enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentSpec {
    /// The enrolment credentials, as received from Core.
    pub credentials_secret_ref: SecretKey,
}

/// A key of a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key in the Secret.
    #[serde(default = "default_credentials_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// How Core is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreSpec {
    /// Trust anchors for Core's HTTPS services. Default: those of the operator's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// Trust anchors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// PEM certificates in a ConfigMap.
    pub config_map_ref: CaKey,
}

/// A key of a ConfigMap of the same namespace that holds PEM certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct CaKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key in the ConfigMap.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// A key of a ConfigMap of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Key in the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

/// An object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// The resolver in the Pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ResolverSpec {
    /// The container that gets the folder with the dnstap socket.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub container: String,
    /// Where the resolver hears that the zone changed.
    #[serde(default)]
    pub notify: Notify,
}

/// Where NOTIFY (RFC 1996) goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
pub struct Notify {
    /// Address as seen from inside the Pod.
    #[serde(default = "default_notify_address")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self)", "spec.resolver.notify.address is no IP address: write one such as 127.0.0.1 or ::1"))]
    pub address: String,
    /// UDP port.
    #[serde(default = "default_notify_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// The sidecar EDM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdmSpec {
    /// Whether new Pods get it. Switched off, it sends nothing in running Pods either.
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// Names that are no news. Without a list only names of the loop test make events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_known_domains: Option<WellKnownDomains>,
    /// Compute resources of the container.
    #[serde(default)]
    pub resources: Resources,
}

/// Names that are no news.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WellKnownDomains {
    /// A DAWG file in the `binaryData` of a ConfigMap.
    pub config_map_ref: ConfigMapKey,
}

/// The sidecar POP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PopSpec {
    /// Whether new Pods get it.
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// The TapirPolicy that decides what is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalReference>,
    /// Name of the response policy zone, with its final dot.
    #[serde(default = "default_zone")]
    #[schemars(length(min = 2, max = 254), regex(pattern = r"^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+$"))]
    pub zone: String,
    /// Compute resources of the container.
    #[serde(default)]
    pub resources: Resources,
}

/// What becomes of the identity Secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays; an edge of the same name and credentials adopts it.
    #[default]
    Retain,
    /// It is erased.
    Delete,
}

impl Default for Notify {
    fn default() -> Self {
        Self { address: default_notify_address(), port: default_notify_port() }
    }
}

impl Default for EdmSpec {
    fn default() -> Self {
        Self { enabled: true, well_known_domains: None, resources: Resources::default() }
    }
}

impl Default for PopSpec {
    fn default() -> Self {
        Self { enabled: true, policy_ref: None, zone: default_zone(), resources: Resources::default() }
    }
}

const fn default_true() -> bool {
    true
}

fn default_credentials_key() -> String {
    "credentials.json".to_owned()
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

fn default_notify_address() -> String {
    "127.0.0.1".to_owned()
}

const fn default_notify_port() -> u16 {
    53
}

fn default_zone() -> String {
    "dnstapir.".to_owned()
}
