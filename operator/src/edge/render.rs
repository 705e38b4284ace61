//! Renders and applies what belongs to an edge: both configurations, the injection, the binding. Tells what stands in the way.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::{Client, ResourceExt as _};

use super::dereference::{Dereferenced, Referent};
use super::error::EdgeError;
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
    pub injection: Option<Injection>,
    pub binding_created: Option<Timestamp>,
    pub policy: Draft,
    /// What keeps the rendering from being what the specification asks for: reason and message.
    pub trouble: Option<(&'static str, String)>,
}

/// Renders and applies. What cannot be rendered now stays as it was before.
///
/// # Errors
/// When the API server fails.
pub(super) async fn render(
    client: &Client,
    settings: &Settings,
    namespace: &str,
    edge: &TapirEdge,
    found: &Dereferenced,
) -> Result<Rendered, EdgeError> {
    let name = edge.name_any();
    let input = build::Edge { namespace, name: &name, spec: &edge.spec };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut trouble = None;

    let edm = match &found.well_known_domains {
        Some(Referent::Missing(what)) => {
            trouble = Some((
                "WellKnownDomainsMissing",
                format!("{what}: EDM goes on with what it has; create it or correct spec.edm.wellKnownDomains"),
            ));
            None
        }
        Some(Referent::Found(list)) => Some(build::edm_config(&input, Some(&list.0))),
        None => Some(build::edm_config(&input, None)),
    };
    let edm = put(&maps, "EDM's ConfigMap", edm, &build::edm_config_name(&name), &mut trouble).await?;

    let (policy, pop) = policy(edge, found, &input);
    let pop = put(&maps, "POP's ConfigMap", pop, &build::pop_config_name(&name), &mut trouble).await?;

    let images = build::Images { edm: &settings.edm_image, pop: &settings.pop_image };
    let injection = match build::injection(&input, images) {
        Ok(injection) => Some(injection),
        Err(error) => {
            trouble = Some(("InjectionInvalid", chain(&error)));
            edge.status.as_ref().and_then(|status| status.injection.clone())
        }
    };
    let binding_created = bind(client, settings, namespace, edge, &mut trouble).await?;
    Ok(Rendered { edm, pop, injection, binding_created, policy, trouble })
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
        None => (draft(Truth::True, "PopDisabled", "POP is switched off".to_owned()), Some(build::pop_config(input, None))),
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
                built => (draft(Truth::True, "Accepted", format!("TapirPolicy {} is rendered", policy.name_any())), Some(built)),
            },
        },
    }
}

async fn put(
    maps: &Api<ConfigMap>,
    what: &'static str,
    built: Option<Result<ConfigMap, build::ConfigBuildError>>,
    name: &str,
    trouble: &mut Option<(&'static str, String)>,
) -> Result<Option<ConfigMap>, EdgeError> {
    let failed = |error: kube::Error| EdgeError::Apply { what, error: Box::new(error.into()) };
    match built {
        None => maps.get_opt(name).await.map_err(failed),
        Some(Err(error)) => {
            *trouble = Some(("ConfigurationInvalid", chain(&error)));
            maps.get_opt(name).await.map_err(failed)
        }
        Some(Ok(map)) => applied(maps, what, &map, trouble).await,
    }
}

/// The binding follows the injection: a Pod created with the binding in force must find something to be injected with, so the
/// injection has to stand in the status first.
async fn bind(
    client: &Client,
    settings: &Settings,
    namespace: &str,
    edge: &TapirEdge,
    trouble: &mut Option<(&'static str, String)>,
) -> Result<Option<Timestamp>, EdgeError> {
    if edge.status.as_ref().is_none_or(|status| status.injection.is_none()) {
        return Ok(None);
    }
    let api: Api<MutatingAdmissionPolicyBinding> = Api::all(client.clone());
    let wanted = build::binding(namespace, &edge.name_any(), &settings.admission_policy_name);
    let binding = applied(&api, "the admission binding", &wanted, trouble).await?;
    Ok(binding.and_then(|binding| binding.creation_timestamp()).map(|time| time.0))
}

async fn applied<K>(
    api: &Api<K>,
    what: &'static str,
    wanted: &K,
    trouble: &mut Option<(&'static str, String)>,
) -> Result<Option<K>, EdgeError>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match apply(api, wanted).await {
        Ok(object) => Ok(Some(object)),
        Err(error @ ApplyError::Foreign { .. }) => {
            *trouble = Some(("NameTaken", error.to_string()));
            Ok(None)
        }
        Err(error) => Err(EdgeError::Apply { what, error: Box::new(error) }),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
