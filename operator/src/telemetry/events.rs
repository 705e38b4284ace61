//! Publishes Events: for people, who may miss one.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};

/// kube's recorder remembers each Event for minutes, so that the same again is counted up instead of written anew. A fleet whose policy
/// changes would have it remember thousands: after so many it begins anew.
const REMEMBERED: u32 = 256;

/// Publishes in the name of this operator; clones share what is remembered.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    recorder: Arc<Mutex<(Recorder, u32)>>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Of this reporter.
    #[must_use]
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let recorder = Arc::new(Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0)));
        Self { client, reporter, recorder }
    }

    /// Publishes an Event about an object, or counts it up where the same was published a moment ago.
    ///
    /// # Errors
    /// When the API server refuses or cannot be reached.
    pub async fn publish(&self, event: &Event, object: &ObjectReference) -> Result<(), kube::Error> {
        let recorder = self.recorder();
        recorder.publish(event, object).await
    }

    fn recorder(&self) -> Recorder {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if recorder.1 >= REMEMBERED {
            *recorder = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        recorder.1 += 1;
        recorder.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;
    use kube::runtime::events::EventType;
    use serde_json::json;
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn the_same_again_is_counted_up_and_what_is_remembered_is_bounded() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = MockServer::start().await;
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "dns"}, "eventTime": null});
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(201).set_body_json(&event)).mount(&server).await;
        Mock::given(method("PATCH")).respond_with(ResponseTemplate::new(200).set_body_json(&event)).mount(&server).await;
        let client = Client::try_from(Config::new(server.uri().parse().unwrap())).unwrap();
        let events = Events::new(client, "test".into());
        let object = ObjectReference { namespace: Some("dns".into()), name: Some("a".into()), ..ObjectReference::default() };
        let tell = async |reason: &str| {
            let event =
                Event { type_: EventType::Normal, reason: reason.into(), note: None, action: "Ready".into(), secondary: None };
            events.publish(&event, &object).await.unwrap();
        };
        tell("Again").await;
        tell("Again").await;
        for number in 0..REMEMBERED {
            tell(&format!("Other{number}")).await;
        }
        tell("Again").await;
        let requests = server.received_requests().await.unwrap();
        let count = |method: &str| requests.iter().filter(|request| request.method.as_str() == method).count();
        assert_eq!((count("PATCH"), count("POST")), (1, 2 + REMEMBERED as usize));
    }
}
