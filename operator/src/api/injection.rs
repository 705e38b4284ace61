//! `status.injection`: exactly what a new Pod gets, under a closed schema.
//!
//! The admission policy copies this without looking. A patch that does not decode or validate fails the creation of the Pod, whatever
//! the failure policy says, so nothing may stand here that a Pod would refuse. Constants of security are constants of the schema:
//! whoever may write this status can still not make a container privileged or mount the host.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::schema::{CPU, DATA_KEY, DNS_LABEL, IMAGE, MEMORY, OBJECT_NAME, REVISION};

const OWN_NAME: &str = "^tapir-[a-z0-9]([-a-z0-9]{0,55}[a-z0-9])?$";
const PATH: &str = "^(/[-._a-zA-Z0-9]+)+$";

/// What a new Pod gets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Injection {
    /// Hash of the structure, which is all the rest but the images; Pods carry it in an annotation. A running Pod cannot change it.
    #[schemars(length(max = 64), regex(pattern = REVISION))]
    pub revision: String,
    /// The images in it. They can change in a running Pod.
    #[serde(default)]
    pub images: Images,
    /// Hash of the images; Pods carry it in an annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = REVISION))]
    pub images_revision: Option<String>,
    /// Where the containers go.
    #[serde(default)]
    pub form: Form,
    /// The resolver's container.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub container: String,
    /// Containers for a Pod of class BestEffort.
    #[schemars(length(min = 1, max = 2))]
    pub best_effort: Vec<Container>,
    /// Containers for a Pod of class Burstable.
    #[schemars(length(min = 1, max = 2))]
    pub burstable: Vec<Container>,
    /// Containers for a Pod of class Guaranteed.
    #[schemars(length(min = 1, max = 2))]
    pub guaranteed: Vec<Container>,
    /// Volumes of the Pod.
    #[schemars(length(min = 1, max = 16))]
    pub volumes: Vec<Volume>,
    /// Mounts added to the resolver's container.
    #[schemars(length(min = 1, max = 4))]
    pub resolver_volume_mounts: Vec<VolumeMount>,
}

/// Images of the sidecars; that of a sidecar that is switched off is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub struct Images {
    /// Of EDM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub edm: Option<String>,
    /// Of POP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub pop: Option<String>,
}

/// As what the sidecars run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema, strum::IntoStaticStr, strum::EnumIter,
)]
pub enum Form {
    /// Containers after the resolver's: one that cannot be pulled or started does not keep the resolver from starting.
    #[default]
    Containers,
    /// Init containers that go on running (native sidecars): POP is up before the resolver starts, and the resolver does not start
    /// before them.
    Native,
}

/// One sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    #[schemars(length(max = 63), regex(pattern = OWN_NAME))]
    pub name: String,
    /// Its image.
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: PullPolicy,
    /// Of an init container that goes on running; absent in form `Containers`, where the Pod decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// What runs in it.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256)))]
    pub command: Vec<String>,
    /// Its environment.
    #[schemars(length(max = 8))]
    pub env: Vec<Variable>,
    /// Absent for class BestEffort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Compute>,
    /// What is mounted.
    #[schemars(length(min = 1, max = 8))]
    pub volume_mounts: Vec<VolumeMount>,
    /// What it may do: nothing that Pod security `restricted` forbids.
    pub security_context: SecurityContext,
    /// Where the kubelet finds a last word.
    pub termination_message_policy: TerminationMessagePolicy,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When it is not on the node.
    IfNotPresent,
}

/// Restart policy of an init container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum RestartPolicy {
    /// It goes on running beside the others.
    Always,
}

/// Where the kubelet finds a last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TerminationMessagePolicy {
    /// In the log.
    FallbackToLogsOnError,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its name.
    #[schemars(length(max = 63), regex(pattern = "^[A-Z][A-Z0-9_]*$"))]
    pub name: String,
    /// Its value comes from the Pod.
    pub value_from: VariableSource,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariableSource {
    /// A field of the Pod.
    pub field_ref: FieldReference,
}

/// A field of the Pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldReference {
    /// Path of the field.
    pub field_path: PodField,
}

/// Fields of the Pod that a sidecar sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PodField {
    /// Its name.
    #[serde(rename = "metadata.name")]
    Name,
    /// Its UID.
    #[serde(rename = "metadata.uid")]
    Uid,
}

/// Compute resources.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[x_kube(validation = (
    "quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0 && \
     quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0",
    "requests are more than limits: a Pod with this container would be refused"
))]
pub struct Compute {
    /// What the scheduler sets aside.
    pub requests: Quantities,
    /// What the container may use at most.
    pub limits: Quantities,
}

/// Quantities of both resources.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Quantities {
    /// Cores.
    #[schemars(length(max = 8), regex(pattern = CPU))]
    pub cpu: String,
    /// Bytes.
    #[schemars(length(max = 16), regex(pattern = MEMORY))]
    pub memory: String,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume.
    #[schemars(length(max = 63), regex(pattern = OWN_NAME))]
    pub name: String,
    /// Where it is mounted.
    #[schemars(length(max = 256), regex(pattern = PATH))]
    pub mount_path: String,
    /// Whether it cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// What a sidecar may do. Each field has one value only.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// Never.
    #[schemars(schema_with = "only_false")]
    pub allow_privilege_escalation: bool,
    /// None.
    pub capabilities: Capabilities,
    /// Always.
    #[schemars(schema_with = "only_true")]
    pub read_only_root_filesystem: bool,
    /// Always.
    #[schemars(schema_with = "only_true")]
    pub run_as_non_root: bool,
    /// Not root.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub run_as_user: i64,
    /// Not root.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub run_as_group: i64,
    /// The runtime's own.
    pub seccomp_profile: SeccompProfile,
}

/// Capabilities.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Capabilities {
    /// All of them.
    #[schemars(length(min = 1, max = 1))]
    pub drop: Vec<Dropped>,
}

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Dropped {
    /// Every capability.
    #[serde(rename = "ALL")]
    All,
}

/// Filter of system calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SeccompProfile {
    /// Which.
    pub r#type: SeccompType,
}

/// Which filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SeccompType {
    /// The runtime's own.
    RuntimeDefault,
}

/// One volume: an empty folder, or operator-owned objects that may be absent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.emptyDir) != has(self.projected)", "a volume is exactly one of emptyDir and projected"))]
pub struct Volume {
    /// Its name.
    #[schemars(length(max = 63), regex(pattern = OWN_NAME))]
    pub name: String,
    /// An empty folder. It has no size limit, because exceeding one would evict the whole Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// Objects of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<Projected>,
}

/// An empty folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct EmptyDir {}

/// Objects of the namespace in one folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Projected {
    /// Mode of the files.
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: i32,
    /// The objects.
    #[schemars(length(min = 1, max = 4))]
    pub sources: Vec<Projection>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.configMap) != has(self.secret)", "a projection is exactly one of configMap and secret"))]
pub struct Projection {
    /// All keys of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ProjectedConfigMap>,
    /// Keys of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ProjectedSecret>,
}

/// All keys of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ProjectedConfigMap {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Always: a missing object must not keep a Pod from starting.
    #[schemars(schema_with = "only_true")]
    pub optional: bool,
}

/// Keys of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ProjectedSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Always: a missing object must not keep a Pod from starting.
    #[schemars(schema_with = "only_true")]
    pub optional: bool,
    /// The keys; absent for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub items: Vec<KeyToPath>,
}

/// One key as a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct KeyToPath {
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
    /// The file, relative to the mount.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY))]
    pub path: String,
}

fn only_true(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "boolean", "enum": [true]})
}

fn only_false(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "boolean", "enum": [false]})
}
