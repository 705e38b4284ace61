//! Makes the kubelet refresh the volumes of Pods at once after what they mount has changed: any update of a Pod does, so one
//! annotation is touched. Without it a new configuration takes up to the kubelet's sync period, a minute and more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams};

use super::seen::Seen;
use crate::api::ANNOTATION_CONFIG;
use crate::cache::{self, OwnWrites, digest_of};
use crate::digest;
use crate::sidecars::EdgeKey;

/// Between the parts of the annotation: configuration, identity, and how often the Pod was touched again for the same.
const SEPARATOR: char = '.';
/// Touches under way at the same time.
const CONCURRENCY: usize = 8;
/// When a Pod that still lacks what it was touched for is touched again, counted from the first time.
const AGAIN: [Duration; 4] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(40)];

/// Hashes of what the Pods mount. Hashes only: the annotation of a Pod is no place for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    configuration: String,
    /// None while the identity is not there or not known: nothing new of it is to be mounted, and what a Pod was touched for stays said.
    identity: Option<String>,
}

impl Mounted {
    /// Of these objects.
    #[must_use]
    pub(super) fn of(config_maps: &[&ConfigMap], keys: Option<&str>, identity: Option<String>) -> Self {
        let configuration = config_maps.iter().flat_map(|map| {
            let text = map.data.iter().flatten().map(|(name, text)| (name, text.as_bytes()));
            text.chain(map.binary_data.iter().flatten().map(|(name, ByteString(bytes))| (name, bytes.as_slice())))
        });
        let mut configuration = digest::members(configuration);
        if let Some(keys) = keys {
            configuration = digest::members([(&configuration, keys.as_bytes())].into_iter());
        }
        Self { configuration, identity }
    }

    /// The annotation that a Pod is to have, from the one it has.
    fn annotation(&self, present: Option<&str>) -> String {
        let before = present.map(without_count).and_then(|present| present.split_once(SEPARATOR)).map(|(_, identity)| identity);
        let identity = self.identity.as_deref().or(before).unwrap_or_default();
        format!("{}{SEPARATOR}{identity}", self.configuration)
    }
}

/// A Pod to touch, and the annotation that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Touch {
    pod: String,
    uid: String,
    annotation: String,
}

/// Pods that were touched a moment ago, by edge and uid: the kubelet may have refreshed their volumes before it had what was new, and then
/// would let them be for a minute. In memory only: after a restart that minute is waited out.
#[derive(Clone, Debug, Default)]
pub struct Touches {
    edges: Arc<Mutex<HashMap<EdgeKey, HashMap<String, Touched>>>>,
    own: OwnWrites,
}

#[derive(Clone, Debug)]
struct Touched {
    mounted: String,
    at: Instant,
    again: usize,
}

/// What the sidecars of a Pod say that they work by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorksBy {
    /// By what is mounted now.
    New,
    Older,
    Unknown,
}

/// What came of touching.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub touched: usize,
    /// The first refusal, after all were tried.
    pub error: Option<kube::Error>,
    /// When to look whether what was touched has what is new.
    pub look: Option<Duration>,
}

impl Touches {
    /// What they write is told there.
    #[must_use]
    pub fn new(own: OwnWrites) -> Self {
        Self { edges: Arc::default(), own }
    }

    /// Touches every injected Pod that mounts something older, and those again that still do not have it. `works_by` tells of a Pod.
    pub(super) async fn touch_all(
        &self,
        api: &Api<Pod>,
        edge: &EdgeKey,
        pods: &[&Seen],
        mounted: &Mounted,
        works_by: impl Fn(&Seen) -> WorksBy,
    ) -> Outcome {
        let (touches, look) = self.plan(edge, pods, mounted, works_by, Instant::now());
        let touched = touches.len();
        let answers =
            stream::iter(touches).map(async |touch| (self::touch(api, &touch).await, touch)).buffer_unordered(CONCURRENCY);
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        answers
            .for_each(|(answer, touch)| {
                match answer {
                    Ok(()) => done.push(touch),
                    Err(error) => refused.push((error, touch.uid)),
                }
                std::future::ready(())
            })
            .await;
        for touch in done {
            let before = pods.iter().find(|pod| pod.uid == touch.uid).and_then(|pod| pod.touched.as_deref());
            self.own.pod(edge, digest_of(&touch.uid), cache::touched(before), cache::touched(Some(&touch.annotation)));
        }
        self.own.keep_pods(edge, &pods.iter().map(|pod| digest_of(&pod.uid)).collect::<Vec<_>>());
        // Those were not touched, and the next round tries again.
        if let Some(known) = self.lock().get_mut(edge) {
            known.retain(|uid, _| !refused.iter().any(|(_, refused)| refused == uid));
        }
        Outcome { touched, error: refused.into_iter().map(|(error, _)| error).next(), look }
    }

    /// The edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    fn plan(
        &self,
        edge: &EdgeKey,
        pods: &[&Seen],
        mounted: &Mounted,
        works_by: impl Fn(&Seen) -> WorksBy,
        now: Instant,
    ) -> (Vec<Touch>, Option<Duration>) {
        let mut edges = self.lock();
        let mut before = edges.remove(edge).unwrap_or_default();
        let (mut known, mut touches, mut look) = (HashMap::new(), Vec::new(), None::<Duration>);
        for pod in pods {
            let present = pod.touched.as_deref();
            let wanted = mounted.annotation(present);
            let mut record = before.remove(&pod.uid).filter(|record| record.mounted == wanted);
            if present.map(without_count) != Some(wanted.as_str()) && record.is_none() {
                record = Some(Touched { mounted: wanted.clone(), at: now, again: 0 });
                touches.push(Touch { pod: pod.name.clone(), uid: pod.uid.clone(), annotation: wanted });
            } else if let Some(found) = &mut record {
                let time = AGAIN.get(found.again).is_some_and(|pause| now >= found.at + *pause);
                match works_by(pod) {
                    WorksBy::New => record = None,
                    WorksBy::Older if time => {
                        found.again += 1;
                        let annotation = format!("{wanted}{SEPARATOR}{}", found.again);
                        touches.push(Touch { pod: pod.name.clone(), uid: pod.uid.clone(), annotation });
                    }
                    // Who says nothing is no reason to touch.
                    WorksBy::Unknown if time => record = None,
                    WorksBy::Older | WorksBy::Unknown => {}
                }
            }
            // Whoever was touched often enough is left to the kubelet.
            if let Some((record, pause)) = record.and_then(|record| AGAIN.get(record.again).map(|pause| (record, *pause))) {
                let left = (record.at + pause).saturating_duration_since(now);
                look = Some(look.map_or(left, |look| look.min(left)));
                known.insert(pod.uid.clone(), record);
            }
        }
        if !known.is_empty() {
            edges.insert(edge.clone(), known);
        }
        (touches, look)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, HashMap<String, Touched>>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a Pod was touched for the same is no part of what it was touched for.
fn without_count(annotation: &str) -> &str {
    match annotation.match_indices(SEPARATOR).nth(1) {
        Some((at, _)) => &annotation[..at],
        None => annotation,
    }
}

/// A Pod that is gone is no error.
async fn touch(api: &Api<Pod>, touch: &Touch) -> Result<(), kube::Error> {
    let patch = serde_json::json!({"metadata": {"uid": touch.uid, "annotations": {ANNOTATION_CONFIG: touch.annotation}}});
    match api.patch_metadata(&touch.pod, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, text: &str) -> ConfigMap {
        ConfigMap { data: Some([(name.to_owned(), text.to_owned())].into()), ..ConfigMap::default() }
    }

    #[test]
    fn every_change_of_what_is_mounted_shows() {
        let before = Mounted::of(&[&map("edm.toml", "a")], None, None);
        assert_eq!(before, Mounted::of(&[&map("edm.toml", "a")], None, None));
        assert_ne!(before, Mounted::of(&[&map("edm.toml", "b")], None, None));
        assert_ne!(before, Mounted::of(&[&map("edm.toml", "a")], None, Some("identity".into())));
    }

    #[test]
    fn an_identity_out_of_sight_is_no_change() {
        let map = map("edm.toml", "a");
        let with = |identity: Option<&str>| Mounted::of(&[&map], None, identity.map(str::to_owned));
        let touched = with(Some("k")).annotation(None);
        assert_eq!(with(None).annotation(Some(&touched)), touched);
        assert_ne!(with(Some("other")).annotation(Some(&touched)), touched);
        assert_eq!(with(None).annotation(None), with(None).annotation(Some(&with(None).annotation(None))));
    }

    fn pod(name: &str, touched: Option<&str>) -> Seen {
        Seen {
            name: name.into(),
            uid: name.into(),
            created: None,
            terminating: false,
            structure: None,
            images: None,
            touched: touched.map(str::to_owned),
            address: None,
            components: Vec::new(),
        }
    }

    #[test]
    fn a_pod_that_does_not_get_what_is_new_is_touched_again_and_not_for_ever() {
        let (touches, start) = (Touches::default(), Instant::now());
        let edge = EdgeKey { namespace: "dns".into(), name: "a".into() };
        let mounted = Mounted::of(&[&map("edm.toml", "a")], None, Some("i".into()));
        let wanted = mounted.annotation(None);
        let mut annotation = None;
        let mut times = Vec::new();
        for second in 0..120 {
            let seen = pod("p", annotation.as_deref());
            let (planned, look) =
                touches.plan(&edge, &[&seen], &mounted, |_| WorksBy::Older, start + Duration::from_secs(second));
            assert!(look.is_some() || second >= 40);
            for touch in planned {
                times.push(second);
                assert_eq!(without_count(&touch.annotation), wanted);
                assert_ne!(Some(&touch.annotation), annotation.as_ref(), "a Pod has to be updated");
                annotation = Some(touch.annotation);
            }
        }
        assert_eq!(times, [0, 2, 5, 15, 40]);
    }

    #[test]
    fn a_pod_that_has_what_is_new_is_left_alone() {
        let (touches, start) = (Touches::default(), Instant::now());
        let edge = EdgeKey { namespace: "dns".into(), name: "a".into() };
        let mounted = Mounted::of(&[&map("edm.toml", "a")], None, None);
        let plan = |touched: Option<&str>, works_by, second| {
            let seen = pod("p", touched);
            let (planned, look) = touches.plan(&edge, &[&seen], &mounted, |_| works_by, start + Duration::from_secs(second));
            (planned.len(), look)
        };
        let wanted = mounted.annotation(None);
        assert_eq!(plan(None, WorksBy::Unknown, 0), (1, Some(AGAIN[0])));
        let left = Some(AGAIN[0].saturating_sub(Duration::from_secs(1)));
        assert_eq!(plan(Some(&wanted), WorksBy::Unknown, 1), (0, left), "its sidecar was not asked yet");
        assert_eq!(plan(Some(&wanted), WorksBy::New, 1), (0, None));
        assert_eq!(
            plan(Some(&format!("{wanted}.3")), WorksBy::Older, 3),
            (0, None),
            "an operator before this one touched it again"
        );
        assert_eq!(plan(None, WorksBy::Unknown, 4), (1, Some(AGAIN[0])));
        assert_eq!(plan(Some(&wanted), WorksBy::Unknown, 7), (0, None), "who says nothing is no reason to touch");
    }
}
