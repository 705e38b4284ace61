//! Which objects an edge or a policy names: a change of one of them is a change for every edge that names it. Pure.
//!
//! A reference that is forgotten here is an edge that does not react until its forced look.

use crate::api::policy::Source;
use crate::api::{TapirEdgeSpec, TapirPolicySpec};
use crate::{build, names};

/// Kinds of objects of which only marks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Secret,
    ConfigMap,
    Policy,
    /// Cluster-wide; its mark stands under the namespace and name of its edge.
    Binding,
    Namespace,
}

/// An object of the namespace of whoever names it.
pub type Named = (Kind, Box<str>);

/// What the specification of an edge names.
#[must_use]
pub(super) fn of_edge(spec: &TapirEdgeSpec) -> Vec<Named> {
    let enrollment = &spec.enrollment;
    let secrets = [
        enrollment.credentials_secret_ref.as_ref().map(|reference| &reference.name),
        enrollment.existing_identity_secret_ref.as_ref().map(|reference| &reference.name),
    ];
    let mut named: Vec<Named> = secrets.into_iter().flatten().map(|name| (Kind::Secret, name.as_str().into())).collect();
    let maps = [
        spec.core.ca_bundle.as_ref().map(|bundle| &bundle.config_map_ref.name),
        spec.edm.well_known_domains.as_ref().and_then(|list| list.config_map_ref.as_ref()).map(|map| &map.name),
    ];
    named.extend(maps.into_iter().flatten().map(|name| (Kind::ConfigMap, name.as_str().into())));
    if let Some(policy) = spec.pop.policy_ref.as_ref().filter(|_| spec.pop.enabled) {
        named.push((Kind::Policy, policy.name.as_str().into()));
    }
    named
}

/// What a policy names.
#[must_use]
pub(super) fn of_policy(spec: &TapirPolicySpec) -> Vec<Named> {
    let named = |source: &Source| {
        let map = source.config_map_ref.as_ref().map(|reference| (Kind::ConfigMap, reference.name.as_str().into()));
        let key = source.rpz.as_ref().and_then(|rpz| rpz.tsig_secret_ref.as_ref());
        map.into_iter().chain(key.map(|key| (Kind::Secret, key.name.as_str().into())))
    };
    spec.sources.iter().flat_map(named).collect()
}

/// Objects that belong to an edge by their names, of its identity apart from the rest.
#[must_use]
pub(super) fn own(edge: &str) -> Vec<Named> {
    let maps = [build::edm_config_name(edge), build::pop_config_name(edge)];
    let secrets = [names::edm_keys(edge), names::pop_keys(edge), names::pop_data_key(edge)];
    let secrets = secrets.into_iter().map(|name| (Kind::Secret, name.into()));
    maps.into_iter().map(|name| (Kind::ConfigMap, name.into())).chain(secrets).collect()
}

/// Secrets of the identity of an edge.
#[must_use]
pub(super) fn identity(edge: &str) -> Vec<Named> {
    let secrets = [names::identity(edge), names::pending(edge), names::rescue(edge)];
    secrets.into_iter().map(|name| (Kind::Secret, name.into())).collect()
}

/// Edges that an object may belong to by its name.
pub(super) fn owners(kind: Kind, object: &str) -> impl Iterator<Item = &str> {
    object.rmatch_indices('-').map(|(at, _)| &object[..at]).filter(move |edge| {
        let is = |(of, name): &Named| *of == kind && **name == *object;
        own(edge).iter().chain(&identity(edge)).any(is)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_objects_are_found_by_their_names() {
        for (kind, name) in own("a-b").into_iter().chain(identity("a-b")) {
            assert_eq!(owners(kind, &name).collect::<Vec<_>>(), ["a-b"], "{name}");
        }
        assert_eq!(owners(Kind::Secret, "a-edm").count(), 0);
        assert_eq!(owners(Kind::ConfigMap, "nothing").count(), 0);
    }
}
