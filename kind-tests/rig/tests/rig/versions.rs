//! The oldest Kubernetes that is supported.

use anyhow::Result;
use tapir_rig::client::{DEFINITIONS, EDGES, POLICIES};
use tapir_rig::{Method, Options, Rig, Version, policy_manifest};

#[test]
fn kubernetes_1_35_serves_both_resources_and_has_no_mutating_policies() -> Result<()> {
    let rig = Rig::start("oldest", Version::V1_35, Options::default())?;
    let version = rig.admin().raw(Method::GET, "/version", None)?.json();
    assert_eq!((&version["major"], &version["minor"]), (&"1".into(), &"35".into()), "{version}");
    assert_eq!(rig.admin().list(DEFINITIONS, "")?.len(), 2);
    rig.admin().try_create(POLICIES, "default", &policy_manifest("default"))?;
    assert!(rig.admin().list(EDGES, "")?.is_empty());
    let policies = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
    assert_eq!(rig.admin().raw(Method::GET, policies, None)?.status, 404, "what the webhook is there for");
    Ok(())
}
