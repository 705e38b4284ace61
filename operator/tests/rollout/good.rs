//! What goes well, and in which order.

use std::time::Duration;

use serde_json::json;
use tapir_operator::api::reasons::EventReason;
use tapir_operator::settings::Rollout;

use crate::scene::*;
use crate::support::api::Loss;

#[tokio::test]
async fn what_is_changed_is_written_down_first_and_one_pod_follows_the_other() {
    let mut scene = Scene::new(&["a", "b"]);
    let outcome = scene.round("stockholm").await.unwrap();
    assert_eq!(outcome.news[0].reason, EventReason::RolloutStarted);
    // The last write is the reconciler's own, with the rest of the status.
    assert_eq!(scene.writes()[..2], ["PATCH edges/stockholm/status", "PATCH pods/a"]);
    assert_eq!((scene.runs("a"), scene.runs("b")), ("registry.test/pop:2".into(), "registry.test/pop:1".into()));
    let pod = &scene.rollout("stockholm")["pod"];
    assert_eq!((&pod["name"], &pod["containerIds"]), (&json!("a"), &json!(["a-tapir-edm-1", "a-tapir-pop-1"])));
    assert_eq!(scene.injected("stockholm"), json!(images("1")), "nothing is proved yet");
    scene.wait(1);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.writes(), Vec::<String>::new(), "it is waited for without a write");
    scene.restart("a");
    for _ in 0..4 {
        scene.wait(1);
        scene.round("stockholm").await.unwrap();
    }
    assert_eq!(scene.runs("b"), "registry.test/pop:2");
    assert_eq!(scene.injected("stockholm"), json!(images("2")));
    scene.finish("stockholm", &["a", "b"]).await;
    assert_eq!(scene.says("stockholm"), ("Current".into(), String::new()));
    scene.writes();
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.writes(), Vec::<String>::new(), "a settled edge costs no write");
}

#[tokio::test]
async fn a_changed_pod_says_which_images_it_was_changed_to() {
    let scene = Scene::new(&["a", "b"]);
    scene.round("stockholm").await.unwrap();
    let annotation = scene.server.get(&pod_path("a")).unwrap()["metadata"]["annotations"]["dnstapir.se/injection-images"].clone();
    assert_eq!(annotation, json!(tapir_operator::build::images_revision(&images("2")).unwrap()));
}

#[tokio::test]
async fn whichever_write_is_lost_the_rollout_comes_to_its_end() {
    for loss in [Loss::BeforeEffect, Loss::AfterEffect] {
        for number in 0..8 {
            let mut scene = Scene::new(&["a", "b", "c"]);
            scene.server.lose(number, loss);
            scene.finish("stockholm", &["a", "b", "c"]).await;
            // The process dies with it, too.
            let mut scene = scene.takes_over();
            scene.finish("stockholm", &["a", "b", "c"]).await;
            assert_eq!(scene.says("stockholm"), ("Current".into(), String::new()), "{loss:?} of write {number}");
            assert!(["a", "b", "c"].iter().all(|pod| scene.runs(pod) == "registry.test/pop:2"), "{loss:?} of write {number}");
        }
    }
}

#[tokio::test]
async fn whoever_takes_over_goes_on_with_the_pod_that_was_begun() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.round("stockholm").await.unwrap();
    scene.wait(5);
    let mut scene = scene.takes_over();
    scene.writes();
    scene.round("stockholm").await.unwrap();
    assert_eq!((scene.writes(), scene.runs("b")), (Vec::<String>::new(), "registry.test/pop:1".into()));
    scene.finish("stockholm", &["a", "b"]).await;
    assert_eq!(scene.says("stockholm").0, "Current");
}

#[tokio::test]
async fn edges_are_rolled_one_after_the_other_canaries_first() {
    let canaries = serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>(
        json!({"matchLabels": {"ring": "first"}}),
    );
    let canaries = Some(canaries.unwrap().try_into().unwrap());
    let rollout = Rollout { canaries, canary_soak: Duration::from_secs(5), ..Rollout::default() };
    let mut scene = Scene::with(&[], rollout);
    let names: Vec<String> = (0..6).map(|number| format!("edge-{number}")).collect();
    scene.server.destroy(&edge_path("stockholm"));
    for (number, name) in names.iter().enumerate() {
        let labels = if number == 4 { json!({"ring": "first"}) } else { json!({}) };
        scene.add_edge(name, &json!({}), &labels);
        scene.add_pod(&format!("{name}-a"), name);
        scene.add_pod(&format!("{name}-b"), name);
    }
    let mut order: Vec<String> = Vec::new();
    for _ in 0..400 {
        scene.wait(1);
        let mut rolling = Vec::new();
        for name in &names {
            scene.round(name).await.unwrap();
            for pod in ["a", "b"].map(|pod| format!("{name}-{pod}")) {
                if scene.rollout(name)["pod"]["name"] == pod.as_str() {
                    scene.restart(&pod);
                }
            }
            if scene.says(name).0 == "Rolling" {
                rolling.push(name.clone());
            }
        }
        assert!(rolling.len() <= 1, "{rolling:?}");
        rolling.retain(|name| !order.contains(name));
        order.append(&mut rolling);
        if names.iter().all(|name| scene.says(name).0 == "Current") {
            break;
        }
    }
    assert_eq!((order.len(), order[0].as_str()), (6, "edge-4"));
    assert!(names.iter().all(|name| scene.runs(&format!("{name}-b")) == "registry.test/pop:2"));
}
