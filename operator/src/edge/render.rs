//! Renders and applies what belongs to an edge: both configurations, the injection, the binding. Tells what stands in the way.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::Api;
use kube::{Client, ResourceExt as _};

use super::dereference::{Dereferenced, PolicyFound, Referent};
use super::edm_config;
use super::error::{EdgeError, Said};
use super::keys;
use super::sources::Lack;
use crate::api::status::PolicyStatus;
use crate::api::{Images, Injection, Reason, TapirEdge};
use crate::apply::{Applier, ApplyError};
use crate::build::{self, ConfigBuildError, PopFiles};
use crate::conditions::{Draft, Truth};
use crate::policy::acceptable;
use crate::rollout;
use crate::settings::Settings;
use crate::sidecars::EdgeKey;
use crate::{digest, names};

const POP_MAP: &str = "POP's ConfigMap";
const POP_KEYS: &str = "POP's keys";
const POP_DATA_KEY: &str = "the data key for POP";
const EDM_KEYS: &str = "EDM's keys";

/// What was applied.
#[derive(Debug)]
pub(super) struct Rendered {
    pub edm: Option<ConfigMap>,
    pub pop: Option<ConfigMap>,
    /// Digest of the keys that sidecars mount besides the identity; none while there are none.
    pub keys: Option<String>,
    /// Whether configurations and keys are known as they are in the cluster, there or not.
    pub all_seen: bool,
    pub injection: Option<Injection>,
    /// Images that the Pods are to run in the end.
    pub target: Images,
    /// Since when new Pods are injected; none while they are not.
    pub in_force: Option<Timestamp>,
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
    applier: &Applier<'_>,
    namespace: &str,
    edge: &TapirEdge,
    found: &Dereferenced,
) -> Rendered {
    let name = edge.name_any();
    let input = build::Edge { namespace, name: &name, spec: &edge.spec };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);

    let (lack, edm) = edm_config::build(&maps, &input, found).await;
    let edm = put(applier, &maps, "EDM's ConfigMap", edm, &build::edm_config_name(&name)).await;
    let (policy, pop, keys) = {
        let (policy, files) = policy(edge, found, &input);
        let (pop, keys) = place(client, applier, namespace, &name, files).await;
        (policy, pop, keys)
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (for_pop, for_edm) = (names::pop_data_key(&name), names::edm_keys(&name));
    let data_key =
        copy(&secrets, applier, (POP_DATA_KEY, &for_pop), found.data_key.as_ref(), |key| build::pop_data_key(&input, key)).await;
    let edm_keys =
        copy(&secrets, applier, (EDM_KEYS, &for_edm), found.cryptopan_key.as_ref(), |key| build::edm_keys(&input, key)).await;
    let policy = not_applied(&pop).or_else(|| not_applied(&keys)).filter(|_| policy.truth == Truth::True).unwrap_or(policy);
    let policy_status = match &found.policy {
        Some(Referent::Found(PolicyFound { policy: found, .. })) => Some(PolicyStatus {
            name: found.name_any(),
            generation: found.metadata.generation,
            revision: pop.object.as_ref().and_then(build::config::revision_of).filter(|_| policy.truth == Truth::True),
        }),
        Some(Referent::Missing(_)) | None => None,
    };
    let peers = peers(applier, &Api::namespaced(client.clone(), namespace), &build::peers(namespace, &name)).await;

    let defaults = build::Defaults { edm: &settings.edm_image, pop: &settings.pop_image };
    let target = build::target_images(&edge.spec, defaults);
    let (invalid, injection) = match build::injection(&input, &rollout::held(edge, &target)) {
        Ok(injection) => (None, Some(injection)),
        Err(error) => {
            let before = edge.status.as_ref().and_then(|status| status.injection.clone());
            (Some(("InjectionInvalid", chain(&error))), before)
        }
    };
    let binding = bind(client, settings, applier, namespace, edge).await;
    Rendered {
        all_seen: edm.seen && pop.seen && keys.seen && data_key.seen && edm_keys.seen,
        edm: edm.object,
        pop: pop.object,
        keys: mounted_keys([&keys, &data_key, &edm_keys]),
        injection,
        target,
        in_force: in_force(settings, edge, binding.object.as_ref()),
        policy,
        policy_status,
        trouble: [
            binding.trouble,
            invalid,
            pop.trouble,
            keys.trouble,
            data_key.trouble,
            edm_keys.trouble,
            edm.trouble,
            lack,
            peers.trouble,
        ]
        .into_iter()
        .flatten()
        .next(),
        failures: [edm.failure, pop.failure, keys.failure, data_key.failure, edm_keys.failure, binding.failure, peers.failure]
            .into_iter()
            .flatten()
            .collect(),
    }
}

impl Rendered {
    /// New Pods get these images from now on.
    pub(super) fn give_new_pods(&mut self, edge: &TapirEdge, key: &EdgeKey, images: &Images) {
        if self.injection.as_ref().is_none_or(|injection| injection.images == *images) {
            return;
        }
        let input = build::Edge { namespace: &key.namespace, name: &key.name, spec: &edge.spec };
        match build::injection(&input, images) {
            Ok(injection) => self.injection = Some(injection),
            Err(error) => self.trouble = Some(("InjectionInvalid", chain(&error))),
        }
    }
}

/// A policy that did not reach POP's ConfigMap, or whose keys did not reach their Secret, is not in force.
fn not_applied<K>(pop: &Placed<K>) -> Option<Draft> {
    let draft = |truth, (reason, message): Said| Draft::new("PolicyAccepted", truth, reason, message);
    match (&pop.failure, &pop.trouble) {
        (Some(failure), _) => Some(failure.said().map_or_else(
            || draft(Truth::Unknown, ("Pending", "POP's configuration is being written".to_owned())),
            |said| draft(Truth::False, said),
        )),
        (None, Some(trouble)) => Some(draft(Truth::False, trouble.clone())),
        (None, None) => None,
    }
}

/// What is to be written for POP: nothing, so that the last good one stays, what cannot be, or files.
type Files = Option<Result<PopFiles, ConfigBuildError>>;

/// Condition `PolicyAccepted`, and POP's configuration if there is one to write.
fn policy(edge: &TapirEdge, found: &Dereferenced, input: &build::Edge<'_>) -> (Draft, Files) {
    let draft = |truth, reason: Reason, message: String| Draft::new("PolicyAccepted", truth, reason, message);
    let refused =
        |reason, message: &str| (draft(Truth::False, reason, format!("{message}; POP goes on with the last good one")), None);
    let found = match &found.policy {
        None if edge.spec.pop.enabled => {
            return (draft(Truth::False, Reason::PolicyMissing, "spec.pop.policyRef names no TapirPolicy".to_owned()), None);
        }
        None => {
            let message = "POP is switched off, rendered".to_owned();
            return (draft(Truth::True, Reason::PopDisabled, message), Some(build::pop_files(input, None)));
        }
        Some(Referent::Missing(what)) => {
            return refused(Reason::PolicyNotFound, &format!("{what}: create it, or correct spec.pop.policyRef"));
        }
        Some(Referent::Found(found)) => found,
    };
    let name = found.policy.name_any();
    if let Err(why) = acceptable(&found.policy.spec) {
        return refused(Reason::PolicyInvalid, &format!("TapirPolicy {name}: {why}"));
    }
    let contents = match &found.contents {
        Ok(contents) => contents,
        Err(Lack::Missing(what)) => {
            return refused(Reason::SourceMissing, &format!("TapirPolicy {name}: {what}: create it, or correct the source"));
        }
        Err(Lack::TooLarge(what)) => return refused(Reason::ListTooLarge, &format!("TapirPolicy {name}: {what}")),
        Err(Lack::Invalid(what)) => return refused(Reason::PolicyInvalid, &format!("TapirPolicy {name}: {what}")),
    };
    match build::pop_files(input, Some((&found.policy.spec, contents))) {
        Err(error @ ConfigBuildError::ListsTooLarge { .. }) => {
            refused(Reason::ListTooLarge, &format!("TapirPolicy {name}: {error}"))
        }
        Err(error) => refused(Reason::PolicyInvalid, &chain(&error)),
        built => {
            let generation = found.policy.metadata.generation;
            let generation = generation.map(|number| format!(", generation {number},")).unwrap_or_default();
            (draft(Truth::True, Reason::Accepted, format!("TapirPolicy {name}{generation} is rendered")), Some(built))
        }
    }
}

/// Keys go before what names them, and what names them goes before they do.
async fn place(
    client: &Client,
    applier: &Applier<'_>,
    namespace: &str,
    edge: &str,
    files: Files,
) -> (Placed<ConfigMap>, Placed<Secret>) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (map, keys) = (build::pop_config_name(edge), names::pop_keys(edge));
    match files {
        None => (standing(&maps, POP_MAP, &map).await, standing(&secrets, POP_KEYS, &keys).await),
        Some(Err(error)) => {
            (put(applier, &maps, POP_MAP, Some(Err(error)), &map).await, standing(&secrets, POP_KEYS, &keys).await)
        }
        Some(Ok(PopFiles { config, keys: Some(wanted) })) => {
            let kept = keep(&secrets, applier, (POP_KEYS, &keys), Some(wanted)).await;
            let ready = kept.failure.is_none() && kept.trouble.is_none();
            let map = if ready { applied(applier, &maps, POP_MAP, &config).await } else { standing(&maps, POP_MAP, &map).await };
            (map, kept)
        }
        Some(Ok(PopFiles { config, keys: None })) => {
            let map = applied(applier, &maps, POP_MAP, &config).await;
            let dropped = map.failure.is_none() && map.trouble.is_none();
            let kept = if dropped {
                keep(&secrets, applier, (POP_KEYS, &keys), None).await
            } else {
                standing(&secrets, POP_KEYS, &keys).await
            };
            (map, kept)
        }
    }
}

/// A Secret with a part of the identity, while a sidecar needs that. Where the identity is not there, what the sidecar has stays.
async fn copy(
    secrets: &Api<Secret>,
    applier: &Applier<'_>,
    (what, name): (&'static str, &str),
    found: Option<&Referent<ByteString>>,
    build: impl FnOnce(ByteString) -> Secret,
) -> Placed<Secret> {
    match found {
        None => keep(secrets, applier, (what, name), None).await,
        Some(Referent::Found(key)) => keep(secrets, applier, (what, name), Some(build(key.clone()))).await,
        Some(Referent::Missing(_)) => standing(secrets, what, name).await,
    }
}

/// Digest of all that sidecars mount of these.
fn mounted_keys(placed: [&Placed<Secret>; 3]) -> Option<String> {
    let data: Vec<_> = placed.into_iter().filter_map(|placed| placed.object.as_ref()?.data.as_ref()).collect();
    let members = data.iter().flat_map(|data| data.iter()).map(|(name, key)| (name, key.0.as_slice()));
    (!data.is_empty()).then(|| digest::members(members))
}

async fn keep(
    secrets: &Api<Secret>,
    applier: &Applier<'_>,
    (what, name): (&'static str, &str),
    wanted: Option<Secret>,
) -> Placed<Secret> {
    match keys::keep(secrets, applier, name, wanted).await {
        Ok(object) => Placed { object, seen: true, trouble: None, failure: None },
        Err(error @ ApplyError::Foreign { .. }) => {
            Placed { object: None, seen: true, trouble: Some(("NameTaken", error.to_string())), failure: None }
        }
        Err(error) => {
            let failure = EdgeError::Apply { what, error: Box::new(error) };
            Placed { failure: Some(failure), ..standing(secrets, what, name).await }
        }
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
    applier: &Applier<'_>,
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
        Some(Ok(map)) => applied(applier, maps, what, &map).await,
    }
}

/// The binding follows the injection: a Pod created with the binding in force must find something to be injected with, so the
/// injection has to stand in the status first. Where the chart has one for all edges, or the webhook injects, there is none.
async fn bind(
    client: &Client,
    settings: &Settings,
    applier: &Applier<'_>,
    namespace: &str,
    edge: &TapirEdge,
) -> Placed<MutatingAdmissionPolicyBinding> {
    let rendered = edge.status.as_ref().is_some_and(|status| status.injection.is_some());
    // Where the chart has one for all edges, or the webhook injects, an edge has none.
    let Some(policy) = settings.injection.binds().filter(|_| rendered) else {
        return Placed { object: None, seen: true, trouble: None, failure: None };
    };
    let wanted = build::binding(namespace, &edge.name_any(), policy);
    applied(applier, &Api::all(client.clone()), "the admission binding", &wanted).await
}

/// Since when the API server has all that it takes: something to copy, and the edge's binding where it needs one. A status that was lost and
/// rendered anew is younger than its binding.
fn in_force(settings: &Settings, edge: &TapirEdge, binding: Option<&MutatingAdmissionPolicyBinding>) -> Option<Timestamp> {
    let since = edge.status.as_ref()?.injection_since?;
    if settings.injection.binds().is_none() {
        return Some(since);
    }
    Some(binding?.creation_timestamp()?.0.max(since))
}

/// Services are not watched; their EndpointSlices are, and go with them.
async fn peers(applier: &Applier<'_>, api: &Api<Service>, wanted: &Service) -> Placed<Service> {
    let listed = !applier.cache.indexes().slices(applier.edge).is_empty();
    let result = applier.apply_unwatched(api, wanted, listed).await;
    placed(api, "the Service of the peers", wanted, result).await
}

async fn applied<K>(applier: &Applier<'_>, api: &Api<K>, what: &'static str, wanted: &K) -> Placed<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let result = applier.apply(api, wanted).await;
    placed(api, what, wanted, result).await
}

async fn placed<K>(api: &Api<K>, what: &'static str, wanted: &K, result: Result<K, ApplyError>) -> Placed<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match result {
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
