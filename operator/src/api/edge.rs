//! `TapirEdge`: one node of DNS TAPIR and the resolver Pods that it serves.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edm::EdmSpec;
use super::enrollment::{CertificateSpec, CoreSpec, EnrollmentSpec};
use super::injection::Form;
use super::references::LocalReference;
use super::resources::Resources;
use super::rollout::RolloutSpec;
use super::schema::{DNS_LABEL, image_rule};
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
        "self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name becomes the value of a label and the stem of other names: use at most 50 lower-case letters, digits and hyphens, no dots, and begin with a letter"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node.name"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.matched"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.pods.current"),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.pods.updated"),
    printcolumn(name = "Rollout", type_ = "string", json_path = ".status.rollout.phase"),
    printcolumn(name = "Certificate until", type_ = "string", json_path = ".status.node.certificate.notAfter"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Renew at", type_ = "string", json_path = ".status.node.certificate.renewAt", priority = 1),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.pods.injected", priority = 1),
    printcolumn(name = "Waits for", type_ = "string", json_path = ".status.rollout.reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
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
    /// Stops all calls to Core and all writes but this resource's status and finalizers. Sidecars go on with what they have, and new
    /// Pods get them; a deletion waits.
    #[serde(default)]
    pub suspend: bool,
    /// How the node is enrolled at DNS TAPIR Core.
    pub enrollment: EnrollmentSpec,
    /// How Core is reached.
    #[serde(default)]
    pub core: CoreSpec,
    /// The node's certificate.
    #[serde(default)]
    pub certificate: CertificateSpec,
    /// The resolver in the Pods.
    pub resolver: ResolverSpec,
    /// The sidecar that minimises what the resolver saw and reports new names.
    #[serde(default)]
    pub edm: EdmSpec,
    /// The sidecar that turns observations and lists into a response policy zone.
    #[serde(default)]
    pub pop: PopSpec,
    /// How the sidecars come into new Pods.
    #[serde(default)]
    pub injection: InjectionSpec,
    /// How running Pods get new sidecars.
    #[serde(default)]
    pub rollout: RolloutSpec,
    /// What becomes of the identity Secret when this resource is deleted. Core neither replaces a data key nor reuses a node name, so
    /// a deleted identity is lost for good.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
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

/// The sidecar POP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PopSpec {
    /// Whether new Pods get it.
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// Its image. Default: the operator's own release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = image_rule())]
    pub image: Option<String>,
    /// The TapirPolicy that decides what is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalReference>,
    /// Name of the response policy zone, with its final dot.
    #[serde(default = "default_zone")]
    #[schemars(length(min = 2, max = 254), regex(pattern = r"^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+$"))]
    pub zone: String,
    /// What Core is told of it.
    #[serde(default)]
    pub telemetry: TelemetrySpec,
    /// Compute resources of the container.
    #[serde(default)]
    pub resources: Resources,
}

/// What Core is told of a sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct TelemetrySpec {
    /// Whether Core is told states, counters and exceptional events, never names or addresses. The node's data key signs them: POP,
    /// which needs none otherwise, gets a copy of it.
    #[serde(default)]
    pub enabled: bool,
}

/// How the sidecars come into new Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct InjectionSpec {
    /// As what they run.
    #[serde(default)]
    pub form: Form,
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

impl PopSpec {
    /// Whether there is something that it signs.
    #[must_use]
    pub const fn tells_core(&self) -> bool {
        self.enabled && self.telemetry.enabled
    }
}

impl Default for PopSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            image: None,
            policy_ref: None,
            zone: default_zone(),
            telemetry: TelemetrySpec::default(),
            resources: Resources::default(),
        }
    }
}

const fn default_true() -> bool {
    true
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
