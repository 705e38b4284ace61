//! A node that was enrolled elsewhere, taken over with its data key.

use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use tapir_operator::identity::existing::Existing;
use tapir_wire::jwk::DataKey;

use super::*;

/// Data key as upstream's client leaves it.
fn installation(node: &str) -> (String, DataKey) {
    let key = DataKey::generate(&node.parse().unwrap()).unwrap();
    (key.to_jwk().to_string(), key)
}

impl Scene {
    fn taking_over(&self, jwk: &str) -> Wanted {
        let data = [("datakey-priv.json".to_owned(), ByteString(jwk.as_bytes().to_vec()))].into();
        let secret = Secret { data: Some(data), ..Secret::default() };
        let existing = Existing::read(&secret, "vm", Some(&self.nodeman.server.uri())).unwrap();
        Wanted { credentials: CredentialsFound::Existing(Box::new(existing)), ..self.wanted() }
    }
}

#[tokio::test]
async fn an_installation_is_taken_over_without_an_enrolment() {
    let scene = Scene::new().await;
    let (jwk, key) = installation(NODE);
    scene.nodeman.enrolled_elsewhere(NODE, key.public_jwk());
    let round = scene.heard(&scene.taking_over(&jwk)).await;
    assert_eq!(round.news, [News::Adopted { node: NODE.to_owned() }]);
    scene.assert_settled();
    assert_eq!(scene.nodeman.answers(), ["renew 200", "configuration 200"]);
    // The files may be deleted now.
    let credentials = CredentialsFound::Missing { what: "gone".into() };
    scene.keeper.keep(&Wanted { credentials, ..scene.wanted() }).await.unwrap();
    scene.assert_settled();
}

#[tokio::test]
async fn whichever_write_of_a_takeover_is_lost_the_key_is_the_one_of_the_installation() {
    for number in 0..4 {
        for loss in [Loss::BeforeEffect, Loss::AfterEffect] {
            let scene = Scene::new().await;
            let (jwk, key) = installation(NODE);
            scene.nodeman.enrolled_elsewhere(NODE, key.public_jwk());
            scene.server.lose(number, loss);
            assert!(scene.keeper.keep(&scene.taking_over(&jwk)).await.is_err(), "write {number} was not lost");
            scene.keeper.keep(&scene.taking_over(&jwk)).await.unwrap();
            scene.assert_settled();
            assert_eq!(scene.stored_key(IDENTITY), Some(key.public_jwk()["x"].clone()), "write {number} {loss:?}");
        }
    }
    let scene = Scene::new().await;
    let (jwk, key) = installation(NODE);
    scene.nodeman.enrolled_elsewhere(NODE, key.public_jwk());
    scene.nodeman.lose_renewals(1);
    scene.keeper.keep(&scene.taking_over(&jwk)).await.unwrap_err();
    scene.keeper.keep(&scene.taking_over(&jwk)).await.unwrap();
    scene.assert_settled();
}

#[tokio::test]
async fn a_key_that_is_not_the_one_on_record_is_said_and_nothing_is_enrolled() {
    let scene = Scene::new().await;
    scene.nodeman.enrol_somebody_else();
    let error = scene.keeper.keep(&scene.taking_over(&installation(NODE).0)).await.unwrap_err();
    assert!(matches!(error, KeepError::Enrol(EnrolError::OtherKey(_))), "{error}");
    let scene = Scene::new().await;
    let error = scene.keeper.keep(&scene.taking_over(&installation(NODE).0)).await.unwrap_err();
    assert!(matches!(error, KeepError::Enrol(EnrolError::Nodeman(_))), "{error}");
    assert_eq!(scene.nodeman.answers(), ["renew 400"], "never enrolled: the key is not to be used up");
    assert!(scene.server.get(IDENTITY).is_none());
}

#[tokio::test]
async fn an_identity_that_is_lost_comes_back_from_the_installation_s_key() {
    let scene = Scene::new().await;
    let (jwk, key) = installation(NODE);
    scene.nodeman.enrolled_elsewhere(NODE, key.public_jwk());
    scene.keeper.keep(&scene.taking_over(&jwk)).await.unwrap();
    scene.server.destroy(IDENTITY);
    scene.keeper.keep(&scene.taking_over(&jwk)).await.unwrap();
    scene.assert_settled();
}

/// A renewal as the real Core answered it to upstream's own client: its chain and its members are taken. The key of its request is not ours,
/// which is noticed.
#[tokio::test]
async fn a_recorded_answer_to_upstream_s_client_is_understood() {
    let recorded: Value = serde_json::from_str(include_str!("../../../tapir-wire/vectors/core/go-client/renew.json")).unwrap();
    let scene = Scene::new().await;
    let jwk = include_str!("../../../tapir-wire/vectors/core/go-client/data-key.private.jwk.json");
    scene.nodeman.fault(Some((200, recorded["response"]["body"].as_str().unwrap())));
    let error = scene.keeper.keep(&scene.taking_over(jwk)).await.unwrap_err();
    assert!(error.to_string().contains("public key is not that of the private key"), "{error}");
    // The request is of the same form as the recorded one, and signed by the same key.
    let requests = scene.nodeman.server.received_requests().await.unwrap();
    let members = |body: &[u8]| {
        let message: Value = serde_json::from_slice(body).unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(message["payload"].as_str().unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        (names(&message), names(&payload))
    };
    assert_eq!(members(&requests[0].body), members(recorded["request"]["body"].as_str().unwrap().as_bytes()));
    let public = DataKey::from_jwk(jwk).unwrap().public_jwk();
    let keys = tapir_wire::jwk::TrustedKeys::from_value(&json!({"keys": [public]})).unwrap();
    for body in [&requests[0].body[..], recorded["request"]["body"].as_str().unwrap().as_bytes()] {
        tapir_wire::jws::verify(body, &keys).unwrap();
    }
}
