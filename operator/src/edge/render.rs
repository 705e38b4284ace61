//! Renders and applies what belongs to an edge: both configurations, the injection, the binding. Tells what stands in the way.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::{Client, ResourceExt as _};

use super::dereference::{Dereferenced, Referent};
use super::error::{EdgeError, Said};
use crate::api::status::PolicyStatus;
use crate::api::{Injection, TapirEdge};
use crate::apply::{ApplyError, apply};
use crate::build;
use crate::conditions::{Draft, Truth};
use crate::policy::acceptable;
use crate::settings::Settings;

/// What was applied.
#[derive(Debug)]
pub(super) struct Rendered {
    pub edm: Option<ConfigMap>,
    pub pop: Option<ConfigMap>,
    /// Whether both configurations are known as they are in the cluster, there or not.
    pub all_seen: bool,
    pub injection: Option<Injection>,
    pub binding_created: Option<Timestamp>,
    /// Condition `PolicyAccepted` as far as rendering and applying go.
    pub policy: Draft,
    pub policy_status: Option<PolicyStatus>,
    /// What keeps the rendering from being what the specification asks for.
    pub trouble: Option<Said>,
    /// What the API server refused; everything else was applied all the same.
    pub failures: Vec<EdgeError>,
}

/// Renders and applies. What cannot be rendered or applied now stays as it was before, and is said.
pub(super) async fn render(
    client: &Client,
    settings: &Settings,
    namespace: &str,
    edge: &TapirEdge,
    found: &Dereferenced,
) -> Rendered {
    let name = edge.name_any();
    let input = build::Edge { namespace, name: &name, spec: &edge.spec };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);

    let (list, edm) = match &found.well_known_domains {
        Some(Referent::Missing(what)) => (
            Some((
                "WellKnownDomainsMissing",
                format!("{what}: EDM goes on with what it has; create it or correct spec.edm.wellKnownDomains"),
            )),
            None,
        ),
        Some(Referent::Found(list)) => (None, Some(build::edm_config(&input, Some(&list.0)))),
        None => (None, Some(build::edm_config(&input, None))),
    };
    let edm = put(&maps, "EDM's ConfigMap", edm, &build::edm_config_name(&name)).await;
    let (policy, pop) = policy(edge, found, &input);
    let pop = put(&maps, "POP's ConfigMap", pop, &build::pop_config_name(&name)).await;

    let policy = not_applied(&pop).filter(|_| policy.truth == Truth::True).unwrap_or(policy);
    let policy_status = match &found.policy {
        Some(Referent::Found(found)) => Some(PolicyStatus {
            name: found.name_any(),
            generation: found.metadata.generation,
            revision: pop.object.as_ref().and_then(build::config::revision_of).filter(|_| policy.truth == Truth::True),
        }),
        Some(Referent::Missing(_)) | None => None,
    };

    let defaults = build::Defaults { edm: &settings.edm_image, pop: &settings.pop_image };
    let (invalid, injection) = match build::injection(&input, &build::target_images(&edge.spec, defaults)) {
        Ok(injection) => (None, Some(injection)),
        Err(error) => {
            let before = edge.status.as_ref().and_then(|status| status.injection.clone());
            (Some(("InjectionInvalid", chain(&error))), before)
        }
    };
    let binding = bind(client, settings, namespace, edge).await;
    Rendered {
        all_seen: edm.seen && pop.seen,
        edm: edm.object,
        pop: pop.object,
        injection,
        binding_created: binding.object.and_then(|binding| binding.creation_timestamp()).map(|time| time.0),
        policy,
        policy_status,
        trouble: [binding.trouble, invalid, pop.trouble, edm.trouble, list].into_iter().flatten().next(),
        failures: [edm.failure, pop.failure, binding.failure].into_iter().flatten().collect(),
    }
}

/// A policy that did not reach POP's ConfigMap is not in force.
fn not_applied(pop: &Placed<ConfigMap>) -> Option<Draft> {
    let draft = |truth, (reason, message): Said| Draft::new("PolicyAccepted", truth, reason, message);
    match (&pop.failure, &pop.trouble) {
        (Some(failure), _) => Some(failure.said().map_or_else(
            || draft(Truth::Unknown, ("Pending", "POP's ConfigMap is being written".to_owned())),
            |said| draft(Truth::False, said),
        )),
        (None, Some(trouble)) => Some(draft(Truth::False, trouble.clone())),
        (None, None) => None,
    }
}

/// Condition `PolicyAccepted`, and POP's configuration if there is one to write.
fn policy(
    edge: &TapirEdge,
    found: &Dereferenced,
    input: &build::Edge<'_>,
) -> (Draft, Option<Result<ConfigMap, build::ConfigBuildError>>) {
    let draft = |truth, reason: &str, message: String| Draft::new("PolicyAccepted", truth, reason, message);
    match &found.policy {
        None if edge.spec.pop.enabled => {
            (draft(Truth::False, "PolicyMissing", "spec.pop.policyRef names no TapirPolicy".to_owned()), None)
        }
        None => {
            (draft(Truth::True, "PopDisabled", "POP is switched off, rendered".to_owned()), Some(build::pop_config(input, None)))
        }
        Some(Referent::Missing(what)) => (
            draft(
                Truth::False,
                "PolicyMissing",
                format!("{what}: create it, or correct spec.pop.policyRef; POP goes on with the last good one"),
            ),
            None,
        ),
        Some(Referent::Found(policy)) => match acceptable(&policy.spec) {
            Err(why) => (
                draft(
                    Truth::False,
                    "PolicyInvalid",
                    format!("TapirPolicy {}: {why}; POP goes on with the last good one", policy.name_any()),
                ),
                None,
            ),
            Ok(()) => match build::pop_config(input, Some(&policy.spec)) {
                Err(error) => (draft(Truth::False, "PolicyInvalid", chain(&error)), None),
                built => {
                    let generation =
                        policy.metadata.generation.map(|number| format!(", generation {number},")).unwrap_or_default();
                    let message = format!("TapirPolicy {}{generation} is rendered", policy.name_any());
                    (draft(Truth::True, "Accepted", message), Some(built))
                }
            },
        },
    }
}

/// One object after the attempt to bring it to where it should be.
struct Placed<K> {
    /// As it is in the cluster now; none if it is not there, is somebody else's, or could not be looked at.
    object: Option<K>,
    /// It could be looked at.
    seen: bool,
    trouble: Option<Said>,
    failure: Option<EdgeError>,
}

async fn put(
    maps: &Api<ConfigMap>,
    what: &'static str,
    built: Option<Result<ConfigMap, build::ConfigBuildError>>,
    name: &str,
) -> Placed<ConfigMap> {
    match built {
        None => standing(maps, what, name).await,
        Some(Err(error)) => {
            let trouble = Some(("ConfigurationInvalid", chain(&error)));
            Placed { trouble, ..standing(maps, what, name).await }
        }
        Some(Ok(map)) => applied(maps, what, &map).await,
    }
}

/// The binding follows the injection: a Pod created with the binding in force must find something to be injected with, so the
/// injection has to stand in the status first. Where the chart has one for all edges, or the webhook injects, there is none.
async fn bind(client: &Client, settings: &Settings, namespace: &str, edge: &TapirEdge) -> Placed<MutatingAdmissionPolicyBinding> {
    let rendered = edge.status.as_ref().is_some_and(|status| status.injection.is_some());
    // Where the chart has one for all edges, or the webhook injects, an edge has none.
    let Some(policy) = settings.injection.binds().filter(|_| rendered) else {
        return Placed { object: None, seen: true, trouble: None, failure: None };
    };
    let wanted = build::binding(namespace, &edge.name_any(), policy);
    applied(&Api::all(client.clone()), "the admission binding", &wanted).await
}

async fn applied<K>(api: &Api<K>, what: &'static str, wanted: &K) -> Placed<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match apply(api, wanted).await {
        Ok(object) => Placed { object: Some(object), seen: true, trouble: None, failure: None },
        Err(error @ ApplyError::Foreign { .. }) => {
            Placed { object: None, seen: true, trouble: Some(("NameTaken", error.to_string())), failure: None }
        }
        Err(error) => {
            let failure = EdgeError::Apply { what, error: Box::new(error) };
            Placed { failure: Some(failure), ..standing(api, what, &wanted.name_any()).await }
        }
    }
}

/// What is there, untouched.
async fn standing<K>(api: &Api<K>, what: &'static str, name: &str) -> Placed<K>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.get_opt(name).await {
        Ok(object) => Placed { object, seen: true, trouble: None, failure: None },
        Err(error) => {
            let failure = EdgeError::Apply { what, error: Box::new(error.into()) };
            Placed { object: None, seen: false, trouble: None, failure: Some(failure) }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
