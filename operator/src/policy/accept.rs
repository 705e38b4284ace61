//! What the schema of a policy alone cannot say. Pure.

use tapir_wire::name::Name;

use crate::api::TapirPolicySpec;
use crate::api::policy::List;
use crate::build;

/// Whether a policy can be rendered.
///
/// # Errors
/// The first thing that cannot, with its place and never with more than one name of a list.
pub fn acceptable(spec: &TapirPolicySpec) -> Result<(), String> {
    for source in &spec.sources {
        if source.core.is_some() && source.list != List::Doubt {
            return Err(format!("source {}: observations of Core are doubts, set list: Doubt", source.name));
        }
        let names = source.inline.iter().flat_map(|inline| &inline.names);
        if let Some((position, error)) =
            names.enumerate().find_map(|(position, name)| Name::parse(name).err().map(|error| (position, error)))
        {
            return Err(format!("source {}: inline.names[{position}]: {error}", source.name));
        }
    }
    build::translate(spec).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(source: &serde_json::Value) -> Result<(), String> {
        acceptable(&serde_json::from_value(json!({"sources": [source]})).unwrap())
    }

    #[test]
    fn names_that_are_too_long_for_the_dns_are_found_with_their_place() {
        let long = vec!["a".repeat(63); 4].join(".");
        let error = check(&json!({"name": "own", "list": "Deny", "inline": {"names": ["ok.example", long]}})).unwrap_err();
        assert!(error.contains("source own: inline.names[1]"), "{error}");
    }

    #[test]
    fn core_is_a_source_of_doubts_only() {
        assert!(check(&json!({"name": "core", "list": "Deny", "core": {}})).is_err());
        assert_eq!(check(&json!({"name": "core", "list": "Doubt", "core": {}})), Ok(()));
    }
}
