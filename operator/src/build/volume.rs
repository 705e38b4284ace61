//! The volumes of an injected Pod. Volumes of a running Pod cannot change, so each sidecar gets one projected volume over a fixed set of
//! operator-owned objects; all of them are optional, since a missing object must not keep a resolver from starting.

use tapir_wire::node::{CA_CERTIFICATE, DATA_KEY, NODE_DOCUMENT, TLS_CERTIFICATE, TLS_KEY, TRUSTED_KEYS};

use super::config::{edm_config_name, pop_config_name};
use crate::api::injection::{EmptyDir, KeyToPath, Projected, ProjectedConfigMap, ProjectedSecret, Projection, Volume};
use crate::names;

pub(super) const RUN: &str = "tapir-run";
pub(super) const NO_TOKEN: &str = "tapir-no-token";
pub(super) const EDM_CONFIG: &str = "tapir-edm-config";
pub(super) const EDM_STATE: &str = "tapir-edm-state";
pub(super) const POP_CONFIG: &str = "tapir-pop-config";
pub(super) const POP_STATE: &str = "tapir-pop-state";

/// Readable for everybody in the container, which is one user; nobody writes there.
const READ_ONLY_FILES: i32 = 0o444;

/// Volumes that both sidecars and the resolver share.
pub(super) fn shared() -> Vec<Volume> {
    vec![empty(RUN), empty(NO_TOKEN)]
}

/// Volumes of EDM. It signs events with the data key and needs no trusted keys.
pub(super) fn edm(edge: &str) -> Vec<Volume> {
    let sources = vec![
        config_map(edm_config_name(edge)),
        secret(names::identity(edge), &[TLS_CERTIFICATE, TLS_KEY, CA_CERTIFICATE, DATA_KEY, NODE_DOCUMENT]),
        secret(names::edm_keys(edge), &[]),
    ];
    vec![projected(EDM_CONFIG, sources), empty(EDM_STATE)]
}

/// Volumes of POP. It verifies observations, and has the data key only while there is something that it signs.
pub(super) fn pop(edge: &str) -> Vec<Volume> {
    let sources = vec![
        config_map(pop_config_name(edge)),
        secret(names::identity(edge), &[TLS_CERTIFICATE, TLS_KEY, CA_CERTIFICATE, TRUSTED_KEYS, NODE_DOCUMENT]),
        secret(names::pop_keys(edge), &[]),
        secret(names::pop_data_key(edge), &[DATA_KEY]),
    ];
    vec![projected(POP_CONFIG, sources), empty(POP_STATE)]
}

fn empty(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDir {}), projected: None }
}

fn config_map(name: String) -> Projection {
    Projection { config_map: Some(ProjectedConfigMap { name, optional: true }), secret: None }
}

/// Some keys of a Secret; all of them if none is named.
fn secret(name: String, keys: &[&str]) -> Projection {
    let items = keys.iter().map(|key| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned() }).collect();
    Projection { config_map: None, secret: Some(ProjectedSecret { name, optional: true, items }) }
}

fn projected(name: &str, sources: Vec<Projection>) -> Volume {
    Volume { name: name.to_owned(), empty_dir: None, projected: Some(Projected { default_mode: READ_ONLY_FILES, sources }) }
}
