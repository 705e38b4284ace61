//! A disruption budget that forbids an eviction is named, and asked again after growing pauses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod support;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use serde_json::json;
use support::api::Server;
use tapir_operator::edge::{Decided, Evictions};
use tapir_operator::pods::{Census, Decision, Memory, classify};
use tapir_operator::sidecars::EdgeKey;
use tapir_operator::telemetry::metrics::Metrics;

const POD: &str = "/api/v1/namespaces/dns/pods/p1";

struct Scene {
    server: Server,
    evictions: Evictions,
    edge: EdgeKey,
    begun: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let server = Server::default();
        server.put(
            POD,
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p1", "namespace": "dns"}, "spec": {"containers": []}}),
        );
        let edge = EdgeKey { namespace: "dns".into(), name: "stockholm".into() };
        Self { server, evictions: Evictions::default(), edge, begun: Timestamp::from_second(1_000_000).unwrap() }
    }

    async fn evict(&self, seconds_later: i64) -> Decision {
        let api: Api<Pod> = Api::namespaced(self.server.client(), "dns");
        let pod: Pod = serde_json::from_value(self.server.get(POD).unwrap()).unwrap();
        let now = self.begun.checked_add(SignedDuration::from_secs(seconds_later)).unwrap();
        let decided = Decided { decision: Decision::Evict("p1".into()), now, pods: &[pod], counted: 3 };
        self.evictions.carry_out(&api, &self.edge, decided, &Metrics::default()).await.unwrap()
    }
}

#[tokio::test]
async fn a_budget_that_forbids_it_is_named_and_asked_again_after_growing_pauses() {
    let scene = Scene::new();
    scene.server.let_budget_hold();
    let Decision::Blocked { pod, why, retry_in } = scene.evict(0).await else { panic!("not blocked") };
    assert_eq!((pod.as_str(), retry_in), ("p1", Duration::from_secs(10)));
    assert!(why.contains("PodDisruptionBudget") && why.contains("budget unbound needs 2 healthy pods"), "{why}");
    let again = scene.evict(9).await;
    assert_eq!(again, Decision::Blocked { pod, why, retry_in: Duration::from_secs(1) });
    assert_eq!(scene.server.writes().len(), 1, "asked again within the pause");
    let (mut now, mut pause) = (10, 10);
    for _ in 0..8 {
        let Decision::Blocked { retry_in, .. } = scene.evict(now).await else { panic!("not blocked") };
        assert!(retry_in.as_secs() >= pause && retry_in <= Duration::from_mins(5), "{retry_in:?} after {pause}");
        pause = retry_in.as_secs();
        now += i64::try_from(pause).unwrap();
    }
    assert_eq!((pause, scene.server.writes().len()), (300, 9));
    scene.server.let_budget_go();
    assert_eq!(scene.evict(now).await, Decision::Evict("p1".into()));
    assert!(scene.server.get(POD).is_none());
    let memory = scene.evictions.memory(&scene.edge);
    assert_eq!((memory.pods_before, memory.evicted.is_some()), (3, true));
}

#[tokio::test]
async fn the_condition_says_what_is_in_the_way() {
    let scene = Scene::new();
    scene.server.let_budget_hold();
    let decision = scene.evict(0).await;
    let pod = json!({"metadata": {"name": "p1"}, "spec": {"containers": [{"name": "unbound"}]}});
    let views: Vec<_> = classify(&serde_json::from_value(pod).unwrap(), "unbound", None).into_iter().collect();
    let finding = Census::of(&views).finding(&views, "stockholm", "unbound", &decision);
    assert_eq!((finding.injected, finding.reason), (false, "EvictionBlocked"));
    assert!(finding.message.contains("p1") && finding.message.contains("budget unbound"), "{}", finding.message);
}

#[tokio::test]
async fn nothing_is_remembered_once_nothing_is_to_be_replaced() {
    let scene = Scene::new();
    scene.server.let_budget_hold();
    scene.evict(0).await;
    let api: Api<Pod> = Api::namespaced(scene.server.client(), "dns");
    let nothing = Decided { decision: Decision::Nothing, now: scene.begun, pods: &[], counted: 0 };
    scene.evictions.carry_out(&api, &scene.edge, nothing, &Metrics::default()).await.unwrap();
    assert_eq!(scene.evictions.memory(&scene.edge), Memory::default());
    let Decision::Blocked { retry_in, .. } = scene.evict(1).await else { panic!("not asked anew") };
    assert_eq!(retry_in, Duration::from_secs(10));
}
