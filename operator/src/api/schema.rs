//! Schema fragments that several resources share.

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

/// A DNS label as Kubernetes names containers and volumes (RFC 1123).
pub const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
/// A name of a Kubernetes object (RFC 1123 subdomain).
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A key of a Secret or ConfigMap. Not `.`, `..` or anything that begins with `..`, which the kubelet keeps for itself.
pub const DATA_KEY: &str = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";
/// CPU: whole cores or thousandths, more than nothing. A subset of what a Pod accepts, so that nothing is left to rounding.
pub const CPU: &str = "^[1-9][0-9]{0,3}$|^[1-9][0-9]{0,6}m$";
/// Memory: whole bytes with or without a unit, more than nothing.
pub const MEMORY: &str = "^[1-9][0-9]{0,14}$|^[1-9][0-9]{0,8}(k|M|G|Ki|Mi|Gi)$";
/// A reference of an image: `[host[:port]/]path[:tag][@digest]`.
pub const IMAGE: &str = concat!(
    r"^([a-zA-Z0-9]([-a-zA-Z0-9.]{0,251}[a-zA-Z0-9])?(:[0-9]{1,5})?/)?",
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[a-f0-9]{64})?$"
);
/// Revision: lower-case hexadecimal digits of a content hash.
pub const REVISION: &str = "^[0-9a-f]{8,64}$";

/// `metav1.Condition` with the bounds that Kubernetes' own types carry, as a list map by type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "description": "Conditions of this resource.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "pattern": "^[A-Za-z][A-Za-z0-9]*$"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                "message": {"type": "string", "maxLength": 32768}
            }
        }
    })
}

/// A point in time.
pub fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// [`IMAGE`] as a rule, because a pattern has no message that tells what to write.
#[must_use]
pub fn image_rule() -> Rule {
    Rule::new(format!("self.matches(r'{IMAGE}')"))
        .message("image is no reference of an image: write [registry/]path[:tag][@sha256:digest]")
}
