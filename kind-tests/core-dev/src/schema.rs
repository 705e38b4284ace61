//! The two JSON schemas (draft 2020-12) that the bridges check: events going up, observations going down.

use jsonschema::Validator;
use serde_json::{Value, json};

/// `$id` of the event schema.
pub const NEW_QNAME: &str = "https://schema.dnstapir.se/v1/new_qname";
/// `$id` of the observation schema.
pub const CORE_OBSERVATION: &str = "https://schema.dnstapir.se/v1/core_observation";

/// Why a schema cannot be used; it would be a mistake in this file.
#[derive(Debug, thiserror::Error)]
#[error("compiling a JSON schema: {0}")]
pub struct SchemaError(String);

/// Compiled schemas. Formats are not enforced, as at the bridges.
#[derive(Debug)]
pub struct Schemas {
    event: Validator,
    observation: Validator,
}

impl Schemas {
    /// Compiles both.
    ///
    /// # Errors
    /// Never, unless this file is wrong.
    pub fn new() -> Result<Self, SchemaError> {
        let compile = |schema: &Value| {
            jsonschema::draft202012::options()
                .should_validate_formats(false)
                .build(schema)
                .map_err(|error| SchemaError(error.to_string()))
        };
        Ok(Self { event: compile(&event_schema())?, observation: compile(&observation_schema())? })
    }

    /// Whether `value` is a new_qname event; else the first violation.
    ///
    /// # Errors
    /// With the path of the violation, never with the offending value.
    pub fn check_event(&self, value: &Value) -> Result<(), String> {
        check(&self.event, value)
    }

    /// Whether `value` is an observation message.
    ///
    /// # Errors
    /// With the path of the violation.
    pub fn check_observation(&self, value: &Value) -> Result<(), String> {
        check(&self.observation, value)
    }
}

fn check(validator: &Validator, value: &Value) -> Result<(), String> {
    validator.validate(value).map_err(|error| format!("violates {}", error.schema_path()))
}

fn event_schema() -> Value {
    let count = json!({"type": "integer", "minimum": 0});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": NEW_QNAME, "type": "object",
        "required": ["type", "version", "qname"],
        "properties": {
            "type": {"const": "new_qname"}, "version": count, "qname": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"}, "flags": {"type": "integer"},
            "qtype": count, "qclass": count, "rdlength": count,
            "message_id": {"type": "string", "format": "uuid"}, "initiator": {"enum": ["client", "resolver"]},
        },
    })
}

fn observation_schema() -> Value {
    let list = json!({"type": "array", "items": {"type": "object", "properties": {
        "name": {"type": "string"}, "time_added": {"type": "string", "format": "date-time"},
        "ttl": {"type": "integer"}, "tag_mask": {"type": "integer"}, "extended_tags": {"type": "array"},
    }}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": CORE_OBSERVATION, "type": "object",
        "required": ["src_name", "creator", "msg_type", "list_type", "added", "removed", "msg", "timestamp", "time_str"],
        "properties": {
            "message_id": {"type": "string", "format": "uuid"}, "src_name": {"type": "string"}, "creator": {"type": "string"},
            "msg_type": {"enum": ["observation"]}, "list_type": {"enum": ["allowlist", "doubtlist", "denylist"]},
            "added": list, "removed": list, "msg": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"}, "time_str": {"type": "string"},
        },
    })
}
