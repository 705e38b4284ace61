//! What is seen of Pods.

use jiff::Timestamp;

use super::images::{Images, Kind};

/// A Pod with the label of the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    pub name: String,
    pub uid: String,
    pub created: Option<Timestamp>,
    /// Uid of the owner that would create it anew.
    pub controller: Option<String>,
    /// Where it runs; none while it is not scheduled.
    pub node: Option<String>,
    pub ready: bool,
    /// Every Service that lists it lists it as serving.
    pub serving: bool,
    pub terminating: bool,
    pub injected: bool,
    /// Revision of the structure that it got.
    pub structure: Option<String>,
    /// As its spec says now.
    pub images: Images,
    /// In the order of their names.
    pub sidecars: Vec<Sidecar>,
    /// When both of its sidecars last answered, by the clock of the operator; none when the last question found no answer.
    pub heard: Option<Timestamp>,
    /// Names of the Secrets that it pulls with.
    pub pull_secrets: Vec<String>,
}

/// A sidecar's container, as the kubelet says; that may be old news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    pub kind: Kind,
    /// Empty before there is a container.
    pub container_id: String,
    pub running: bool,
    /// Why it waits or ended, when that does not pass by itself.
    pub trouble: Option<String>,
}

/// A Pod that pulls an image, or the memory that none may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullView {
    pub node: String,
    pub image: String,
    pub state: PullState,
}

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullState {
    Running,
    /// The image is on the node and its program starts.
    Done,
    /// It cannot be had there, or does not start.
    Failed(String),
    /// No Pod may be made there for it, which says nothing about the image.
    Refused,
}

impl PodView {
    pub(super) fn container_ids(&self) -> Vec<String> {
        self.sidecars.iter().map(|sidecar| sidecar.container_id.clone()).collect()
    }

    /// Whether it answers clients as far as can be seen.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.ready && self.serving && !self.terminating
    }
}
