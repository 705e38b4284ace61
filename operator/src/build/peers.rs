//! The headless Service `<edge>-peers`: how a POP that starts finds the edge's others, which tell it what Core told them. Its
//! EndpointSlices carry this label too, and are how the operator learns where Pods are and whether they serve.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::api::LABEL_EDGE;
use crate::names;

/// Where POP serves its peers.
pub const PEERS_PORT: i32 = 9843;

/// The Service of an edge.
#[must_use]
pub fn peers(namespace: &str, edge: &str) -> Service {
    Service {
        metadata: metadata(namespace, edge, names::peers(edge)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // A POP asks before its own Pod is ready, and Pods that are not ready know what they know all the same.
            publish_not_ready_addresses: Some(true),
            selector: Some(BTreeMap::from([(LABEL_EDGE.to_owned(), edge.to_owned())])),
            ports: Some(vec![ServicePort {
                name: Some("peers".to_owned()),
                port: PEERS_PORT,
                target_port: Some(IntOrString::Int(PEERS_PORT)),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
