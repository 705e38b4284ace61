//! Who is believed, and what a new certificate means.

use super::*;

#[tokio::test]
async fn a_new_certificate_means_an_orderly_reconnect_on_the_same_channel() {
    let scene = Scene::new();
    let core = scene.connect(scene.settings("core")).await;
    let mut client = scene.connect(scene.subscriber()).await;

    // The same settings again: a reload that changed nothing leaves the connection alone.
    let same = client.settings.borrow().clone();
    client.settings.send_replace(same);
    assert!(timeout(MOMENT, client.handle.state.changed()).await.is_err());

    // A message that waits unread must survive, too.
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "before", Qos::AtLeastOnce)).await.unwrap();
    soon("arrival", async {
        while client.handle.metrics.received.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let in_use = client.handle.state.borrow().certificate_serial.clone();
    assert!(in_use.is_some());
    client.settings.send_replace(Some(scene.subscriber()));
    soon("second connection", async {
        while client.handle.metrics.connects.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let wanted = client.settings.borrow().as_ref().unwrap().certificate_serial.clone();
    assert_ne!(wanted, in_use);
    assert_eq!(client.handle.state.borrow().certificate_serial, wanted, "the certificate in use is told");
    soon("publish", core.handle.publisher.publish(OBSERVATIONS, "after", Qos::AtLeastOnce)).await.unwrap();
    assert_eq!(client.next().await.payload, "before");
    assert_eq!(client.next().await.payload, "after");
    assert_eq!(client.handle.metrics.failures.get(), 0);
    let log = scene.broker.log();
    assert!(log.contains("Received DISCONNECT from node-a.test-test"), "{log}");
    assert!(!log.contains("already connected"), "{log}");
}

/// As POP subscribes: what comes while the certificate changes waits at the broker.
#[tokio::test]
async fn what_streams_in_while_the_certificate_changes_again_and_again_all_arrives() {
    const CHANGES: u64 = 5;
    let scene = Scene::new();
    let core = scene.connect(scene.settings("core")).await;
    let settings = || MqttSettings { clean_start: false, session_expiry: Some(60), ..scene.subscriber() };
    let mut client = scene.connect(settings()).await;
    let (connects, dropped, failures) = {
        let metrics = &client.handle.metrics;
        (metrics.connects.clone(), metrics.dropped.clone(), metrics.failures.clone())
    };
    let published = std::cell::Cell::new(0_u32);
    let changing = async {
        for change in 1..=CHANGES {
            // In the midst of the stream, however fast that is.
            while u64::from(published.get()) < change * 25 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            client.settings.send_replace(Some(settings()));
            while connects.get() <= change {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let publishing = async {
        let mut changing = std::pin::pin!(changing);
        loop {
            tokio::select! {
                () = &mut changing => return published.get(),
                sent = core.handle.publisher.publish(OBSERVATIONS, published.get().to_string(), Qos::AtLeastOnce) => sent.unwrap(),
            }
            published.set(published.get() + 1);
        }
    };
    let mut arrived = std::collections::BTreeSet::new();
    let published = {
        let mut publishing = std::pin::pin!(publishing);
        soon("changes", async {
            loop {
                tokio::select! {
                    published = &mut publishing => return published,
                    Some(message) = client.handle.incoming.recv() => { arrived.insert(message.payload); }
                }
            }
        })
        .await
    };
    let missing = |arrived: &std::collections::BTreeSet<bytes::Bytes>| {
        (0..published).filter(|number| !arrived.contains(number.to_string().as_bytes())).collect::<Vec<_>>()
    };
    while !missing(&arrived).is_empty() {
        let more = timeout(PATIENCE, client.handle.incoming.recv()).await;
        let Ok(Some(message)) = more else { panic!("of {published} never came {:?}", missing(&arrived)) };
        arrived.insert(message.payload);
    }
    assert!(published > 100, "{published} messages are no stream");
    assert_eq!((dropped.get(), failures.get()), (0, 0));
}

#[tokio::test]
async fn messages_on_their_way_are_acknowledged_before_an_orderly_reconnect() {
    let scene = Scene::new();
    let mut client = scene.connect(scene.settings("node-a.test")).await;
    let publishing: Vec<_> = (0..200)
        .map(|_| {
            let publisher = client.handle.publisher.clone();
            tokio::spawn(async move { publisher.publish(EVENTS, "event", Qos::AtLeastOnce).await })
        })
        .collect();
    client.settings.send_replace(Some(scene.settings("node-a.test")));
    let mut acknowledged = 0;
    for publish in publishing {
        acknowledged += usize::from(soon("answer", publish).await.unwrap().is_ok());
    }
    soon("second connection", async {
        while client.handle.metrics.connects.get() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    client.connected().await;
    // What the broker got and what the publishers were told agree: no duplicates when they send the rest again.
    assert_eq!(scene.broker.log().matches("Received PUBLISH from node-a.test-test").count(), acknowledged);
}

#[tokio::test]
async fn a_broker_of_another_authority_is_never_connected_and_the_reason_is_told() {
    let scene = Scene::new();
    let other = Authority::new("another CA");
    let client = Client::start(settings(&scene.broker.url(), &scene.authority, &other, "node-a.test"), 1);
    soon("failures", async {
        while client.handle.metrics.failures.get() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    assert_eq!(client.handle.metrics.connects.get(), 0);
    assert!(!scene.broker.log().contains("node-a.test-test"));
}

#[tokio::test]
async fn a_broker_of_another_name_is_never_connected() {
    let scene = Scene::new();
    let mut settings = scene.settings("node-a.test");
    // mosquitto listens there too, but its certificate names only `localhost` and 127.0.0.1.
    settings.url = format!("mqtts://[::ffff:127.0.0.1]:{}", scene.broker.port);
    let client = Client::start(settings, 1);
    soon("failure", async {
        while client.handle.metrics.failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("not valid for name"), "{error}");
    assert_eq!(client.handle.metrics.connects.get(), 0);
}

#[tokio::test]
async fn a_certificate_that_the_broker_refuses_heals_when_it_is_replaced() {
    let scene = Scene::new();
    let other = Authority::new("another CA");
    let mut client = Client::start(settings(&scene.broker.url(), &other, &scene.authority, "node-a.test"), 1);
    soon("failure", async {
        while client.handle.metrics.failures.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("UnknownCA") || error.contains("unknown"), "{error}");
    client.settings.send_replace(Some(scene.settings("node-a.test")));
    client.connected().await;
}

#[tokio::test]
async fn with_a_certificate_nothing_is_ever_sent_in_the_clear() {
    let scene = Scene::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plain = scene.settings("node-a.test");
    plain.url = format!("mqtt://{}", listener.local_addr().unwrap());
    let client = Client::start(plain, 1);
    soon("failures", async {
        while client.handle.metrics.failures.get() < 2 {
            tokio::select! {
                _ = listener.accept() => panic!("somebody connects in the clear"),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    })
    .await;
    let error = client.handle.state.borrow().error.clone().unwrap();
    assert!(error.contains("not encrypted") && error.contains("mqtts://"), "{error}");
}
