//! Reads recorded vectors.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder `tapir-wire` of the clone; tests of other crates include this file.
fn root() -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tapir-wire"));
    folders.into_iter().find(|folder| folder.join("vectors").is_dir()).unwrap()
}

pub fn bytes(path: &str) -> Vec<u8> {
    let path = root().join("vectors").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn text(path: &str) -> String {
    String::from_utf8(bytes(path)).unwrap()
}

pub fn json(path: &str) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap()
}

/// A file that upstream publishes and this repository does not copy: looked for in the folder that `TAPIR_UPSTREAM_VECTORS` names,
/// else in a folder `shared` beside the clone. Where it is missing, this says so past the test runner's capture, which would
/// otherwise report as passed, without a word, what never ran.
pub fn upstream(path: &str) -> Option<Vec<u8>> {
    let beside = || root().join("../../shared/spec/vectors");
    let folder = std::env::var_os("TAPIR_UPSTREAM_VECTORS").map_or_else(beside, PathBuf::from);
    match std::fs::read(folder.join(path)) {
        Ok(octets) => Some(octets),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let remedy = "set TAPIR_UPSTREAM_VECTORS, or put a folder `shared` beside the clone";
            let message = format!("not run: upstream's own vectors are not at hand: {path} ({remedy})\n");
            std::io::stderr().write_all(message.as_bytes()).unwrap();
            None
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

/// Members of an array.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text member.
pub fn string<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member} in {value}"))
}
