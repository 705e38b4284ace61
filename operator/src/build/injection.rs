//! `status.injection`: what the admission policy copies into new Pods.

use super::check::{InjectionError, validate_injection};
use super::container::{self, Class};
use super::{Edge, revision, volume};
use crate::api::injection::Container;
use crate::api::{Images, Injection, TapirEdgeSpec};

/// Images of the sidecars unless the edge pins them: those of the operator's own release.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// Of EDM.
    pub edm: &'a str,
    /// Of POP.
    pub pop: &'a str,
}

/// The images that the Pods of an edge are to run in the end.
#[must_use]
pub fn target_images(spec: &TapirEdgeSpec, defaults: Defaults<'_>) -> Images {
    let choose = |enabled: bool, pinned: &Option<String>, default: &str| {
        enabled.then(|| pinned.clone().unwrap_or_else(|| default.to_owned()))
    };
    Images {
        edm: choose(spec.edm.enabled, &spec.edm.image, defaults.edm),
        pop: choose(spec.pop.enabled, &spec.pop.image, defaults.pop),
    }
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

/// Builds and checks what a new Pod of the edge gets. A sidecar without an image is switched off.
///
/// # Errors
/// When a Pod would refuse it, which only an odd image reference can cause.
pub fn injection(edge: &Edge<'_>, images: &Images) -> Result<Injection, InjectionBuildError> {
    let mut injection = structure(edge, images);
    // What differs by its images only is one structure.
    let nameless = Images { edm: images.edm.as_ref().map(|_| String::new()), pop: images.pop.as_ref().map(|_| String::new()) };
    injection.revision = hash(&structure(edge, &nameless))?;
    injection.images_revision = Some(hash(images)?);
    injection.images = images.clone();
    validate_injection(&injection).map_err(InjectionBuildError::Invalid)?;
    Ok(injection)
}

/// Hash of images, as Pods carry it in an annotation.
///
/// # Errors
/// When they cannot be written as JSON, which does not happen.
pub fn images_revision(images: &Images) -> Result<String, InjectionBuildError> {
    hash(images)
}

fn structure(edge: &Edge<'_>, images: &Images) -> Injection {
    let spec = edge.spec;
    let form = spec.injection.form;
    let containers = |class: Class| -> Vec<Container> {
        let edm = images.edm.as_ref().map(|image| container::edm(image, &spec.edm.resources(), class, form));
        let pop = images.pop.as_ref().map(|image| container::pop(image, &spec.pop.resources, class, form));
        edm.into_iter().chain(pop).collect()
    };
    let mut volumes = volume::shared();
    if images.edm.is_some() {
        volumes.extend(volume::edm(edge.name));
    }
    if images.pop.is_some() {
        volumes.extend(volume::pop(edge.name));
    }
    Injection {
        revision: String::new(),
        images: Images::default(),
        images_revision: None,
        form,
        container: spec.resolver.container.clone(),
        best_effort: containers(Class::BestEffort),
        burstable: containers(Class::Burstable),
        guaranteed: containers(Class::Guaranteed),
        volumes,
        resolver_volume_mounts: container::resolver_mounts(),
    }
}

fn hash(value: &impl serde::Serialize) -> Result<String, InjectionBuildError> {
    let text = serde_json::to_vec(value).map_err(InjectionBuildError::Json)?;
    Ok(revision([text.as_slice()]))
}
