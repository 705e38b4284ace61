//! The resources of `dnstapir.se/v1alpha1`.
//!
//! Only what the schema says is relied upon elsewhere: everything is bounded, defaults stand in the schema, and what the schema
//! alone cannot say is a CEL rule whose message names the field and the remedy. `crds/` is generated from here.

#![allow(clippy::duplicated_attributes, reason = "printer columns of one type are no duplicates")]
#![allow(unreachable_pub, reason = "KubeSchema copies each struct with its `pub` into a function body to make the schema")]

pub mod edge;
pub mod injection;
pub mod policy;
pub mod resources;
pub mod schema;
pub mod status;

pub use edge::{
    ConfigMapKey, CoreSpec, DeletionPolicy, EdmSpec, EnrollmentSpec, LocalReference, Notify, PopSpec, ResolverSpec, SecretKey,
    TapirEdge, TapirEdgeSpec,
};
pub use injection::Injection;
pub use policy::{TapirPolicy, TapirPolicySpec, TapirPolicyStatus};
pub use resources::Resources;
pub use status::{CertificateStatus, NodeStatus, PodsStatus, PolicyStatus, TapirEdgeStatus};

/// API group of both resources; also the prefix of labels and annotations.
pub const GROUP: &str = "dnstapir.se";
/// Label of cluster-wide objects: the namespace of the edge that they serve.
pub const LABEL_EDGE_NAMESPACE: &str = "dnstapir.se/edge-namespace";
/// Annotation of injected Pods: `status.injection.revision` at their creation.
pub const ANNOTATION_INJECTION: &str = "dnstapir.se/injection-revision";
/// Annotation of Pods that the operator touches so that the kubelet refreshes their volumes at once.
pub const ANNOTATION_CONFIG: &str = "dnstapir.se/config-revision";
/// Label of Pods (which edge they belong to) and of everything that the operator owns.
pub const LABEL_EDGE: &str = "dnstapir.se/edge";
/// Finalizer of TapirEdge.
pub const FINALIZER_OFFBOARD: &str = "dnstapir.se/offboard";
/// Finalizer of the identity Secret.
pub const FINALIZER_IDENTITY: &str = "dnstapir.se/identity";
/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "tapir-operator";
