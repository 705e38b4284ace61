//! `status.injection`: what the admission policy copies into new Pods.

use super::check::{InjectionError, validate_injection};
use super::container::{self, Class};
use super::{Edge, revision, volume};
use crate::api::Injection;
use crate::api::injection::Container;

/// Images of the sidecars.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Of EDM.
    pub edm: &'a str,
    /// Of POP.
    pub pop: &'a str,
}

/// Why nothing can be injected.
#[derive(Debug, thiserror::Error)]
pub enum InjectionBuildError {
    /// It could not be hashed.
    #[error("writing the injection as JSON")]
    Json(#[source] serde_json::Error),
    /// A Pod would refuse it.
    #[error("checking the injection before it is written")]
    Invalid(#[source] InjectionError),
}

/// Builds and checks what a new Pod of the edge gets.
///
/// # Errors
/// When a Pod would refuse it, which only an odd image reference can cause.
pub fn injection(edge: &Edge<'_>, images: Images<'_>) -> Result<Injection, InjectionBuildError> {
    let spec = edge.spec;
    let containers = |class: Class| -> Vec<Container> {
        let edm = spec.edm.enabled.then(|| container::edm(images.edm, &spec.edm.resources, class));
        let pop = spec.pop.enabled.then(|| container::pop(images.pop, &spec.pop.resources, class));
        edm.into_iter().chain(pop).collect()
    };
    let mut volumes = volume::shared();
    if spec.edm.enabled {
        volumes.extend(volume::edm(edge.name));
    }
    if spec.pop.enabled {
        volumes.extend(volume::pop(edge.name));
    }
    let mut injection = Injection {
        revision: String::new(),
        container: spec.resolver.container.clone(),
        best_effort: containers(Class::BestEffort),
        burstable: containers(Class::Burstable),
        guaranteed: containers(Class::Guaranteed),
        volumes,
        resolver_volume_mounts: container::resolver_mounts(),
    };
    let text = serde_json::to_vec(&injection).map_err(InjectionBuildError::Json)?;
    injection.revision = revision([text.as_slice()]);
    validate_injection(&injection).map_err(InjectionBuildError::Invalid)?;
    Ok(injection)
}
