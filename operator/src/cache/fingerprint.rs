//! One number for everything that a round of an edge depends on. What is forgotten here is an edge that does not react until its forced
//! look; a test changes each part once.

use super::Cache;
use super::index::{Mark, hash, of_edge_itself};
use super::lean::{LeanCondition, LeanEdge, digest_of};
use super::own::OwnWrites;
use super::references::Named;
use super::rows::SliceRow;
use crate::sidecars::EdgeKey;

/// Reasons of the condition `Enrolled` that make a look at the identity urgent.
pub const URGENT: [&str; 2] = ["NodeRemoved", "IdentityRefused"];

/// What a round of the edge controller depends on, as it was known at one moment.
#[derive(Debug)]
pub struct Inputs {
    key: EdgeKey,
    edge: u64,
    version: Option<String>,
    status: Option<u64>,
    marks: Vec<(Named, Option<Mark>)>,
    pods: Vec<Pod>,
    slices: Vec<SliceRow>,
    synced: [bool; 2],
    others: Vec<u64>,
}

#[derive(Debug)]
struct Pod {
    uid: u64,
    touched: u64,
    rest: u64,
}

impl Inputs {
    /// All of it as one number, in which this operator's own writes do not show: neither before they are seen nor after.
    #[must_use]
    pub fn print(&self, own: &OwnWrites) -> u64 {
        own.explain(&self.key, |explain| {
            let status = if explain.status(self.version.as_deref(), self.status) { Seen::Own } else { Seen::Other(self.status) };
            let marks: Vec<_> = self
                .marks
                .iter()
                .map(|(named, mark)| if explain.object(named, *mark) { Seen::Own } else { Seen::Other(*mark) })
                .collect();
            let pods: Vec<_> = self
                .pods
                .iter()
                .map(|pod| (if explain.pod(pod.uid, pod.touched) { Seen::Own } else { Seen::Other(pod.touched) }, pod.rest))
                .collect();
            hash(&(self.edge, status, marks, pods, &self.slices, self.synced, &self.others))
        })
    }
}

#[derive(Hash)]
enum Seen<T> {
    Own,
    Other(T),
}

impl Cache {
    /// For the edge controller. `others` is what it depends on besides the cluster: epochs of boards, permission of the fleet.
    #[must_use]
    pub fn inputs(&self, edge: &LeanEdge, others: &[u64]) -> Inputs {
        let key = edge.key();
        let indexes = self.indexes();
        let (slices, pods) = (indexes.slices(&key), indexes.pods(&key));
        let wanted = edge.status.as_ref().and_then(|status| status.injection.as_ref()).map(|mark| digest_of(&mark.revision));
        let pods = pods
            .iter()
            .map(|pod| {
                let serves = slices.iter().any(|slice| slice.uid == pod.uid && slice.serving && !slice.terminating);
                // The rest of a Pod that is well is nobody's concern; of another one, anything may be news.
                let well = serves && pod.structure == wanted;
                let version = if well { 0 } else { pod.version };
                Pod {
                    uid: digest_of(&pod.uid),
                    touched: touched(pod.touched.as_deref()),
                    rest: hash(&(&pod.name, &pod.uid, version, pod.structure, pod.images, pod.deleting, pod.created)),
                }
            })
            .collect();
        Inputs {
            edge: of_edge_itself(edge),
            version: edge.metadata.resource_version.clone(),
            status: edge.status.as_ref().map(|status| status.digest),
            marks: indexes.marks(&key),
            pods,
            slices,
            synced: self.are_synced(&key),
            others: others.to_vec(),
            key,
        }
    }

    /// For the identity controller. Of the status it concerns only what says which node the edge is, and what Core said of that node.
    #[must_use]
    pub fn identity_fingerprint(&self, edge: &LeanEdge, others: &[u64]) -> u64 {
        let status = edge.status.as_ref();
        let node = status.and_then(|status| status.node.as_ref()).map(|node| &node.name);
        let conditions = status.into_iter().flat_map(|status| &status.conditions);
        let said = |condition: &LeanCondition| &*condition.kind == "Enrolled" && URGENT.contains(&&*condition.reason);
        let urgent = conditions.into_iter().any(said);
        hash(&(of_edge_itself(edge), node, urgent, self.indexes().identity_marks(&edge.key()), others))
    }

    fn are_synced(&self, edge: &EdgeKey) -> [bool; 2] {
        ["Pods", "EndpointSlices"].map(|what| self.is_synced(what, &edge.namespace))
    }
}

/// Digest of what a Pod was touched for.
#[must_use]
pub fn touched(annotation: Option<&str>) -> u64 {
    annotation.map_or(0, digest_of)
}
