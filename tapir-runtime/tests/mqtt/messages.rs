//! Messages, out and in.

use super::*;

#[tokio::test]
async fn a_qos_1_publish_resolves_at_puback_and_not_before() {
    let scene = Scene::new();
    let client = scene.connect(scene.settings("node-a.test")).await;
    soon("publish", client.handle.publisher.publish(EVENTS, "one", Qos::AtLeastOnce)).await.unwrap();

    scene.broker.signal(Signal::SIGSTOP);
    let publisher = client.handle.publisher.clone();
    let mut publishing = tokio::spawn(async move { publisher.publish(EVENTS, "two", Qos::AtLeastOnce).await });
    assert!(timeout(MOMENT, &mut publishing).await.is_err(), "resolved while the broker slept");
    scene.broker.signal(Signal::SIGCONT);
    assert_eq!(soon("publish", publishing).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_publish_on_a_connection_that_breaks_fails_and_nothing_is_sent_twice() {
    let mut scene = Scene::new();
    let mut client = scene.connect(scene.settings("node-a.test")).await;
    scene.broker.signal(Signal::SIGSTOP);
    let publishing: Vec<_> = (0..100)
        .map(|_| {
            let publisher = client.handle.publisher.clone();
            tokio::spawn(async move { publisher.publish(EVENTS, "lost", Qos::AtLeastOnce).await })
        })
        .collect();
    tokio::time::sleep(MOMENT).await;
    scene.broker.kill();
    for publish in publishing {
        assert_eq!(soon("failure", publish).await.unwrap(), Err(PublishError::ConnectionLost));
    }
    client.disconnected().await;
    assert_eq!(client.handle.publisher.publish(EVENTS, "x", Qos::AtLeastOnce).await, Err(PublishError::NotConnected));

    scene.broker.start_again();
    client.connected().await;
    soon("publish", client.handle.publisher.publish(EVENTS, "new", Qos::AtLeastOnce)).await.unwrap();
    // Once: the 100 lost ones belong to their publishers.
    assert_eq!(scene.broker.log().matches("Received PUBLISH from node-a.test-test").count(), 1);
}

#[tokio::test]
async fn what_the_broker_refuses_or_cannot_take_is_told() {
    let scene = Scene::new();
    let client = scene.connect(scene.settings("node-a.test")).await;
    let publish = |topic: &'static str, length: usize| {
        let publisher = client.handle.publisher.clone();
        async move { soon("answer", publisher.publish(topic, vec![b'x'; length], Qos::AtLeastOnce)).await }
    };
    assert_eq!(publish("events/up/node-b.test/new_qname", 1).await, Err(PublishError::Refused("NotAuthorized".to_owned())));
    assert!(matches!(publish("events/#", 1).await, Err(PublishError::Invalid(_))));
    assert!(matches!(publish(EVENTS, 100_001).await, Err(PublishError::Invalid(_))));
    // None of this cost the connection.
    assert_eq!(publish(EVENTS, 90_000).await, Ok(()));
    assert_eq!(client.handle.metrics.connects.get(), 1);
    assert_eq!(client.handle.metrics.failures.get(), 0);
}

#[tokio::test]
async fn qos_0_works_too() {
    let scene = Scene::new();
    let client = scene.connect(scene.settings("node-a.test")).await;
    soon("publish", client.handle.publisher.publish(EVENTS, "zero", Qos::AtMostOnce)).await.unwrap();
    scene.broker.logged("Received PUBLISH from node-a.test-test (d0, q0").await;
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let scene = Scene::new();
    let mut client = Client::start(scene.subscriber(), 4);
    client.connected().await;
    let core = scene.connect(scene.settings("core")).await;
    for number in 0..20 {
        soon("publish", core.handle.publisher.publish(OBSERVATIONS, number.to_string(), Qos::AtLeastOnce)).await.unwrap();
    }
    soon("arrival", async {
        while client.handle.metrics.received.get() < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(client.handle.metrics.dropped.get(), 16);
    for number in 0..4 {
        assert_eq!(client.next().await.payload, number.to_string());
    }
    assert!(client.handle.incoming.try_recv().is_err());
    // And it goes on.
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "20", Qos::AtLeastOnce)).await.unwrap();
    assert_eq!(client.next().await.payload, "20");
}

async fn publish_and_arrive(core: &Client, client: &Client, count: u64, length: usize) {
    let before = client.handle.metrics.received.get();
    for _ in 0..count {
        let payload = vec![b'x'; length];
        soon("publish", core.handle.publisher.publish(OBSERVATIONS, payload, Qos::AtLeastOnce)).await.unwrap();
    }
    soon("arrival", async {
        while client.handle.metrics.received.get() < before + count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn large_messages_are_bounded_by_their_octets_long_before_their_count() {
    const LENGTH: usize = 90_000;
    let scene = Scene::new();
    let mut client = scene.connect(scene.subscriber()).await;
    let core = scene.connect(scene.settings("core")).await;
    let fitting = mqtt::INCOMING_OCTETS / LENGTH;
    publish_and_arrive(&core, &client, 60, LENGTH).await;
    assert_eq!(client.handle.metrics.dropped.get(), 60 - fitting as u64);
    // What the program has dropped leaves room; what it still holds does not.
    let held = client.next().await;
    assert_eq!(held.payload.len(), LENGTH);
    publish_and_arrive(&core, &client, 1, LENGTH).await;
    assert_eq!(client.handle.metrics.dropped.get(), 61 - fitting as u64);
    drop(held);
    publish_and_arrive(&core, &client, 1, LENGTH).await;
    assert_eq!(client.handle.metrics.dropped.get(), 61 - fitting as u64);
}

#[tokio::test]
async fn what_nobody_listens_to_is_discarded_at_once() {
    let scene = Scene::new();
    let mut client = scene.connect(scene.subscriber()).await;
    let core = scene.connect(scene.settings("core")).await;
    client.handle.incoming.close();
    publish_and_arrive(&core, &client, 3, 10).await;
    assert_eq!(client.handle.metrics.dropped.get(), 3);
    assert!(client.handle.state.borrow().connected, "and the connection goes on");
    assert!(client.handle.incoming.try_recv().is_err());
}
