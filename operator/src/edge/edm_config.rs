//! EDM's configuration where something is missing that it points at.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;

use super::dereference::{Dereferenced, Referent};
use super::error::Said;
use crate::build::{self, ConfigBuildError};

/// EDM's configuration. What it points at and is missing stays as EDM has it, and is said; everything else of the specification counts.
pub(super) async fn build(
    maps: &Api<ConfigMap>,
    edge: &build::Edge<'_>,
    found: &Dereferenced,
) -> (Option<Said>, Option<Result<ConfigMap, ConfigBuildError>>) {
    // Switched off it needs nothing that may be missing, and nothing that is missing may keep it from being switched off.
    let is_on = edge.spec.edm.enabled;
    let list = Wanted::of(found.well_known_domains.as_ref(), is_on, "WellKnownDomainsMissing", "spec.edm.wellKnownDomains");
    let anchors = Wanted::of(found.core_ca.as_ref(), is_on, "CaBundleInvalid", "spec.core.caBundle");
    let lack = match (list.lack(), anchors.lack()) {
        (Some((reason, list)), Some((_, anchors))) => Some((reason, format!("{list}; {anchors}"))),
        (list, anchors) => list.or(anchors),
    };
    let present = match &lack {
        // What cannot be looked at is left alone, and the one who applies finds out why.
        Some(_) => match maps.get_opt(&build::edm_config_name(edge.name)).await {
            Ok(Some(present)) => Some(present),
            Ok(None) | Err(_) => return (lack, None),
        },
        None => None,
    };
    let present = present.as_ref().map(build::edm_inputs).unwrap_or_default();
    let inputs = build::EdmInputs {
        well_known_domains: list.or(present.well_known_domains, |list| list.0.as_slice()),
        core_ca: anchors.or(present.core_ca, String::as_str),
    };
    (lack, Some(build::edm_config(edge, inputs)))
}

/// Something that EDM is to have besides its specification.
enum Wanted<'a, T> {
    Nothing,
    Is(&'a T),
    Lacks(Said),
}

impl<'a, T> Wanted<'a, T> {
    fn of(found: Option<&'a Referent<T>>, is_on: bool, reason: &'static str, field: &str) -> Self {
        match found {
            Some(Referent::Found(it)) => Self::Is(it),
            Some(Referent::Missing(what)) if is_on => {
                Self::Lacks((reason, format!("{what}: EDM goes on with what it has; create it or correct {field}")))
            }
            Some(Referent::Missing(_)) | None => Self::Nothing,
        }
    }

    fn lack(&self) -> Option<Said> {
        if let Self::Lacks(said) = self { Some(said.clone()) } else { None }
    }

    /// What EDM has now, where it lacks the newest.
    fn or<P: ?Sized>(&self, present: Option<&'a P>, part: impl FnOnce(&'a T) -> &'a P) -> Option<&'a P> {
        match self {
            Self::Nothing => None,
            Self::Is(it) => Some(part(it)),
            Self::Lacks(_) => present,
        }
    }
}
