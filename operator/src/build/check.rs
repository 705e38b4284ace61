//! Checks an injection before it is written, against the very schema that the API server will hold it to, and beyond it for what only a
//! Pod as a whole can say. A bad injection must be a condition of the edge, never a refused Pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use kube::CustomResourceExt as _;
use regex::Regex;
use serde_json::{Map, Value};

use crate::api::TapirEdge;
use crate::api::injection::{Container, Injection};

/// What a Pod would refuse.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InjectionError {
    /// The schema says no.
    #[error("status.injection{path} {problem}")]
    Schema {
        /// Where, as `.burstable[0].image`.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Two things of one name.
    #[error("{what} {name} is there twice")]
    Duplicate {
        /// What kind of thing.
        what: &'static str,
        /// Its name or path.
        name: String,
    },
    /// A mount without its volume.
    #[error("container {container} mounts the volume {volume}, which is not there")]
    NoVolume {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
    },
    /// The schema itself cannot be had.
    #[error("the definition of TapirEdge has no schema for status.injection")]
    NoSchema,
}

/// Whether a Pod takes this.
///
/// # Errors
/// The first thing that it would refuse.
pub fn validate_injection(injection: &Injection) -> Result<(), InjectionError> {
    let value = serde_json::to_value(injection)
        .map_err(|error| InjectionError::Schema { path: String::new(), problem: error.to_string() })?;
    validate_value(&value)?;
    let volumes = distinct("volume", injection.volumes.iter().map(|volume| &volume.name))?;
    distinct("mount path", injection.resolver_volume_mounts.iter().map(|mount| &mount.mount_path))?;
    for containers in [&injection.best_effort, &injection.burstable, &injection.guaranteed] {
        distinct("container", containers.iter().map(|container| &container.name))?;
        containers.iter().try_for_each(|container| mounts(container, &volumes))?;
    }
    let unknown = injection.resolver_volume_mounts.iter().find(|mount| !volumes.contains(mount.name.as_str()));
    match unknown {
        Some(mount) => Err(InjectionError::NoVolume { container: injection.container.clone(), volume: mount.name.clone() }),
        None => Ok(()),
    }
}

/// The part of the check that the schema alone decides, for JSON from anywhere.
///
/// # Errors
/// The first place where the schema says no; unknown fields count, although the API server would only drop them.
pub fn validate_value(value: &Value) -> Result<(), InjectionError> {
    walk(value, SCHEMA.as_ref().ok_or(InjectionError::NoSchema)?, "")
}

static SCHEMA: LazyLock<Option<Value>> = LazyLock::new(|| {
    let definition = serde_json::to_value(TapirEdge::crd()).ok()?;
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/injection").cloned()
});

/// Compiled once: the check runs in every reconcile.
static PATTERNS: LazyLock<BTreeMap<String, Regex>> = LazyLock::new(|| {
    let mut found = BTreeMap::new();
    if let Some(schema) = SCHEMA.as_ref() {
        compile(schema, &mut found);
    }
    found
});

fn compile(schema: &Value, found: &mut BTreeMap<String, Regex>) {
    match schema {
        Value::Object(members) => {
            if let Some(pattern) = members.get("pattern").and_then(Value::as_str)
                && let Ok(compiled) = Regex::new(pattern)
            {
                found.insert(pattern.to_owned(), compiled);
            }
            members.values().for_each(|value| compile(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| compile(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn walk(value: &Value, schema: &Value, path: &str) -> Result<(), InjectionError> {
    let refuse = |problem: String| Err(InjectionError::Schema { path: path.to_owned(), problem });
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return refuse(format!("is not one of {}", Value::Array(allowed.clone())));
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), Value::Object(members)) => object(members, schema, path),
        (Some("array"), Value::Array(items)) => {
            bounds(items.len() as u64, schema, ["minItems", "maxItems"]).or_else(refuse)?;
            items.iter().enumerate().try_for_each(|(index, item)| walk(item, &schema["items"], &format!("{path}[{index}]")))
        }
        (Some("string"), Value::String(text)) => {
            bounds(text.chars().count() as u64, schema, ["minLength", "maxLength"]).or_else(refuse)?;
            match schema["pattern"].as_str() {
                Some(pattern) if !matches(pattern, text) => refuse(format!("does not match {pattern}")),
                _ => Ok(()),
            }
        }
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let outside = schema["minimum"].as_f64().is_some_and(|least| number < least)
                || schema["maximum"].as_f64().is_some_and(|most| number > most);
            if outside { refuse("is out of range".to_owned()) } else { Ok(()) }
        }
        (Some("boolean"), Value::Bool(_)) => Ok(()),
        (kind, _) => refuse(format!("is no {}", kind.unwrap_or("known type"))),
    }
}

fn object(members: &Map<String, Value>, schema: &Value, path: &str) -> Result<(), InjectionError> {
    let refuse =
        |name: &str, problem: &str| Err(InjectionError::Schema { path: format!("{path}.{name}"), problem: problem.to_owned() });
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !members.contains_key(name) {
            return refuse(name, "is missing");
        }
    }
    for (name, value) in members {
        match schema["properties"].get(name) {
            Some(schema) => walk(value, schema, &format!("{path}.{name}"))?,
            None => return refuse(name, "is unknown"),
        }
    }
    Ok(())
}

fn bounds(size: u64, schema: &Value, [least, most]: [&str; 2]) -> Result<(), String> {
    if schema[least].as_u64().is_some_and(|least| size < least) {
        return Err(format!("is shorter than {}", schema[least]));
    }
    if schema[most].as_u64().is_some_and(|most| size > most) {
        return Err(format!("is longer than {}", schema[most]));
    }
    Ok(())
}

/// A pattern that does not compile matches nothing; a test compiles them all.
fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS.get(pattern).is_some_and(|pattern| pattern.is_match(text))
}

fn mounts(container: &Container, volumes: &BTreeSet<&str>) -> Result<(), InjectionError> {
    distinct("mount path", container.volume_mounts.iter().map(|mount| &mount.mount_path))?;
    match container.volume_mounts.iter().find(|mount| !volumes.contains(mount.name.as_str())) {
        Some(mount) => Err(InjectionError::NoVolume { container: container.name.clone(), volume: mount.name.clone() }),
        None => Ok(()),
    }
}

fn distinct<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<BTreeSet<&'a str>, InjectionError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.as_str()) {
            return Err(InjectionError::Duplicate { what, name: name.clone() });
        }
    }
    Ok(seen)
}
