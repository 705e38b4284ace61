//! The resources of `dnstapir.se/v1alpha1`.
//!
//! Only what the schema says is relied upon elsewhere: everything is bounded, defaults stand in the schema, and what the schema
//! alone cannot say is a CEL rule whose message names the field and the remedy. `crds/` is generated from here.

#![allow(clippy::duplicated_attributes, reason = "printer columns of one type are no duplicates")]
#![allow(unreachable_pub, reason = "KubeSchema copies each struct with its `pub` into a function body to make the schema")]

pub mod edge;
pub mod edm;
pub mod enrollment;
pub mod injection;
pub mod policy;
pub mod reasons;
pub mod references;
pub mod resources;
pub mod rollout;
pub mod schema;
pub mod status;

pub use edge::{DeletionPolicy, InjectionSpec, Notify, PopSpec, ResolverSpec, TapirEdge, TapirEdgeSpec, TelemetrySpec};
pub use edm::{EdmSpec, EventsSpec, HistogramsSpec, SessionsSpec, StorageSpec, WellKnownDomains};
pub use enrollment::{CertificateSpec, CoreSpec, EnrollmentSpec, ExistingIdentity};
pub use injection::{Form, Images, Injection};
pub use policy::{TapirPolicy, TapirPolicySpec, TapirPolicyStatus};
pub use reasons::{EventReason, Reason};
pub use references::{ConfigMapKey, LocalReference, SecretKey, TsigKey};
pub use resources::Resources;
pub use rollout::{Phase, RollingPod, RolloutSpec, RolloutStatus, Strategy};
pub use status::{CertificateStatus, Handled, NodeStatus, PodsStatus, PolicyStatus, TapirEdgeStatus};

/// API group of both resources; also the prefix of labels and annotations.
pub const GROUP: &str = "dnstapir.se";
/// Label of cluster-wide objects: the namespace of the edge that they serve.
pub const LABEL_EDGE_NAMESPACE: &str = "dnstapir.se/edge-namespace";
/// Annotation of injected Pods: `status.injection.revision` at their creation.
pub const ANNOTATION_INJECTION: &str = "dnstapir.se/injection-revision";
/// Annotation of injected Pods: `status.injection.imagesRevision` at their creation or at their last change.
pub const ANNOTATION_IMAGES: &str = "dnstapir.se/injection-images";
/// Annotation of an edge: a new value renews its certificate now.
pub const ANNOTATION_RENEW_NOW: &str = "dnstapir.se/renew-now";
/// Annotation of the identity Secret: the value of [`ANNOTATION_RENEW_NOW`] that its certificate was made for.
pub const ANNOTATION_RENEWED_FOR: &str = "dnstapir.se/renewed-for";
/// Annotation of an edge: a new value has everything looked at now, Core's answer included, and ends a halt.
pub const ANNOTATION_RECONCILE_NOW: &str = "dnstapir.se/reconcile-now";
/// Annotation of configuration that outlives its edge: Pods that still run the sidecars.
pub const ANNOTATION_PODS_LEFT: &str = "dnstapir.se/pods-left";
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
