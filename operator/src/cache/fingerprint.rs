//! One number for everything that a round of an edge depends on. What is forgotten here is an edge that does not react until its forced
//! look; a test changes each part once.

use super::Cache;
use super::index::{hash, of_edge_itself};
use super::lean::{LeanEdge, digest_of};
use crate::sidecars::EdgeKey;

impl Cache {
    /// For the edge controller. `others` is what it depends on besides the cluster: epochs of boards, permission of the fleet.
    #[must_use]
    pub fn fingerprint(&self, edge: &LeanEdge, others: &[u64]) -> u64 {
        let key = edge.key();
        let indexes = self.indexes();
        let (slices, pods) = (indexes.slices(&key), indexes.pods(&key));
        let wanted = edge.status.as_ref().and_then(|status| status.injection.as_ref()).map(|mark| digest_of(&mark.revision));
        let pods: Vec<_> = pods
            .iter()
            .map(|pod| {
                let serves = slices.iter().any(|slice| slice.uid == pod.uid && slice.serving && !slice.terminating);
                // The rest of a Pod that is well is nobody's concern; of another one, anything may be news.
                let well = serves && pod.structure == wanted;
                let version = if well { 0 } else { pod.version };
                (&pod.name, &pod.uid, version, pod.structure, pod.images, &pod.touched, pod.deleting, pod.created)
            })
            .collect();
        hash(&(of_edge_itself(edge), indexes.marks(&key), pods, &slices, self.are_synced(&key), others))
    }

    /// For the identity controller.
    #[must_use]
    pub fn identity_fingerprint(&self, edge: &LeanEdge, others: &[u64]) -> u64 {
        hash(&(of_edge_itself(edge), self.indexes().identity_marks(&edge.key()), others))
    }

    fn are_synced(&self, edge: &EdgeKey) -> [bool; 2] {
        ["Pods", "EndpointSlices"].map(|what| self.is_synced(what, &edge.namespace))
    }
}
