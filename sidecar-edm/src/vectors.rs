//! Recorded wire data for the tests of this crate.

use std::path::Path;

use serde_json::Value;

/// The reader of the recorded vectors' folder, which says so where upstream's own are not at hand.
#[path = "../../tapir-wire/tests/common/mod.rs"]
mod common;

pub(crate) use common::upstream;

/// A file of the EDM vectors.
pub(crate) fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tapir-wire/vectors/edm").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Octets of a hexadecimal member.
pub(crate) fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}
