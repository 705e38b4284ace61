//! Another certificate, and Core's configuration, for an identity that is there.

use std::time::Duration;

use tapir_operator::nodeman::Refusal;

use super::*;

pub const ISSUED: &str = "2026-11-21T00:00:00Z";
pub const ENDS: &str = "2027-02-19T00:00:00Z";
/// Well before, and after, 66 % less any jitter.
const DUE: &str = "2027-01-20T00:00:00Z";

impl Scene {
    /// Enrolled, with a certificate for ninety days.
    pub async fn enrolled() -> Self {
        let scene = Self::new().await;
        scene.nodeman.issue_for(at(ISSUED), at(ENDS));
        scene.keep().await.unwrap();
        scene.nodeman.issue_for(at(DUE), at("2027-04-20T00:00:00Z"));
        scene.nodeman.forget_answers();
        scene.server.forget_writes();
        scene
    }

    pub fn wanting(&self, from_core: WantedFromCore) -> Wanted {
        Wanted { from_core, ..self.wanted() }
    }

    pub async fn heard(&self, wanted: &Wanted) -> FromCore {
        match self.keeper.keep(wanted).await.unwrap() {
            Kept::Identity { from_core, .. } => *from_core,
            other => panic!("no identity: {other:?}"),
        }
    }

    pub fn member(&self, member: &str) -> String {
        let identity = self.server.get(IDENTITY).unwrap();
        String::from_utf8(BASE64_STANDARD.decode(identity["data"][member].as_str().unwrap()).unwrap()).unwrap()
    }

    fn annotation(&self, name: &str) -> Value {
        self.server.get(IDENTITY).unwrap()["metadata"]["annotations"][name].clone()
    }

    fn trusted(&self) -> Vec<String> {
        let set: Value = serde_json::from_str(&self.member("trusted-jwks.json")).unwrap();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }
}

fn renewing() -> WantedFromCore {
    WantedFromCore { may_renew: true, ..WantedFromCore::default() }
}

fn looking() -> WantedFromCore {
    WantedFromCore { may_refresh: true, ..WantedFromCore::default() }
}

fn asking(value: &str) -> WantedFromCore {
    WantedFromCore { asked: Some(value.to_owned()), ..renewing() }
}

#[tokio::test]
async fn a_certificate_that_is_due_is_replaced_in_one_write_with_a_new_key_and_the_same_data_key() {
    let scene = Scene::enrolled().await;
    let before = scene.server.get(IDENTITY).unwrap()["data"].clone();
    scene.heard(&scene.wanting(renewing())).await;
    assert_eq!(scene.nodeman.answers(), [""; 0], "it is not due yet");
    scene.clock.set(at(DUE));
    scene.nodeman.trust(&["core", "core-2"]);
    let round = scene.heard(&scene.wanting(renewing())).await;
    assert!(matches!((round.renewal, round.refresh), (Some(Ok(())), Some(Ok(())))));
    assert_eq!(scene.nodeman.answers(), ["renew 200", "configuration 200"]);
    assert_eq!(scene.server.writes(), [format!("PUT {IDENTITY}")]);
    let after = scene.server.get(IDENTITY).unwrap()["data"].clone();
    for member in ["tls.crt", "tls.key", "trusted-jwks.json", "node.json"] {
        assert_ne!(before[member], after[member], "{member}");
    }
    for member in ["datakey.jwk", "cryptopan.key", "ca.crt"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    let node: Value = serde_json::from_str(&scene.member("node.json")).unwrap();
    let due: Timestamp = node["renewal"]["due"].as_str().unwrap().parse().unwrap();
    assert!(due > at(DUE) && due.subsec_nanosecond() == 0, "{node}");
    scene.assert_settled();
    scene.server.forget_writes();
    scene.heard(&scene.wanting(renewing())).await;
    assert_eq!((scene.nodeman.answers().len(), scene.server.writes().len()), (2, 0), "once is enough");
}

#[tokio::test]
async fn whichever_answer_or_write_of_a_renewal_is_lost_the_next_one_succeeds() {
    for loss in [Loss::BeforeEffect, Loss::AfterEffect] {
        let scene = Scene::enrolled().await;
        let key = scene.stored_key(IDENTITY);
        scene.clock.set(at(DUE));
        scene.server.lose(0, loss);
        let round = scene.heard(&scene.wanting(renewing())).await;
        assert!(matches!(round.renewal, Some(Err(KeepError::NotStored(_)))), "{loss:?}: {:?}", round.renewal);
        let round = scene.heard(&scene.wanting(renewing())).await;
        // What took effect although the answer was lost is seen.
        assert_eq!(round.renewal.is_some(), loss == Loss::BeforeEffect, "{loss:?}");
        assert_eq!(scene.stored_key(IDENTITY), key);
        scene.assert_settled();
        check_pair(&scene);
    }
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE));
    scene.nodeman.lose_renewals(1);
    let before = scene.server.get(IDENTITY).unwrap();
    let round = scene.heard(&scene.wanting(renewing())).await;
    assert!(matches!(round.renewal, Some(Err(KeepError::Enrol(EnrolError::Nodeman(NodemanError::Unreachable(_)))))));
    assert_eq!(scene.server.get(IDENTITY).unwrap(), before, "nothing changes without an answer");
    scene.heard(&scene.wanting(renewing())).await;
    check_pair(&scene);
}

/// Certificate and key belong together.
fn check_pair(scene: &Scene) {
    let key = tapir_wire::certificate::TlsKey::from_pem(&scene.member("tls.key")).unwrap();
    let now = scene.clock.now();
    tapir_wire::certificate::check_issued(&scene.member("tls.crt"), &scene.member("ca.crt"), &key, &NODE.parse().unwrap(), now)
        .unwrap();
}

#[tokio::test]
async fn an_identity_that_cannot_be_written_stays_as_it_is_and_is_still_had() {
    for code in [403, 409, 500] {
        for (want, due) in [(renewing(), DUE), (looking(), ISSUED)] {
            let scene = Scene::enrolled().await;
            scene.clock.set(at(due));
            scene.nodeman.trust(&["core-2"]);
            scene.server.refuse(Some((&format!("PUT {IDENTITY}"), code)));
            let before = scene.server.get(IDENTITY).unwrap();
            let round = scene.heard(&scene.wanting(want.clone())).await;
            let result = round.renewal.or(round.refresh).unwrap();
            assert!(matches!(result, Err(KeepError::NotStored(_))), "{code}: {result:?}");
            assert!(scene.nodeman.answers().len() <= 2, "{code}: asked again and again: {:?}", scene.nodeman.answers());
            scene.server.refuse(None);
            assert_eq!(scene.server.get(IDENTITY).unwrap(), before);
            scene.heard(&scene.wanting(want)).await;
            assert_eq!(scene.trusted(), ["core-2"]);
        }
    }
}

/// As of a leader that was stopped while Core answered, and whose successor renewed meanwhile.
#[tokio::test]
async fn an_answer_that_comes_after_somebody_else_s_write_is_dropped() {
    for want in [renewing(), looking()] {
        let scene = Scene::enrolled().await;
        scene.clock.set(at(DUE));
        scene.nodeman.trust(&["core-2"]);
        let mut newer = scene.server.get(IDENTITY).unwrap();
        newer["data"]["tls.crt"] = newer["data"]["ca.crt"].clone();
        let (server, written) = (scene.server.clone(), newer.clone());
        scene.nodeman.meanwhile(move || server.put(IDENTITY, written));
        let round = scene.heard(&scene.wanting(want)).await;
        let result = round.renewal.or(round.refresh);
        assert!(matches!(result, Some(Err(KeepError::NotStored(_)))), "{result:?}");
        assert_eq!(scene.server.get(IDENTITY).unwrap()["data"], newer["data"], "the stale answer was written over it");
    }
}

#[tokio::test]
async fn asking_for_another_certificate_is_answered_exactly_once() {
    let scene = Scene::enrolled().await;
    scene.nodeman.issue_for(at(ISSUED), at(ENDS));
    scene.heard(&scene.wanting(asking("1"))).await;
    assert_eq!(scene.annotation("dnstapir.se/renewed-for"), "1");
    scene.heard(&scene.wanting(asking("1"))).await;
    assert_eq!(scene.nodeman.answers(), ["renew 200", "configuration 200"]);
    // The write took effect and its answer was lost: a new process finds it done.
    scene.server.lose(0, Loss::AfterEffect);
    scene.heard(&scene.wanting(asking("2"))).await;
    scene.heard(&scene.wanting(asking("2"))).await;
    assert_eq!(scene.nodeman.answers().len(), 4);
    // Brought back after a deletion, it still knows.
    scene.server.delete(IDENTITY);
    scene.heard(&scene.wanting(asking("2"))).await;
    assert_eq!(scene.nodeman.answers().len(), 4);
}

#[tokio::test]
async fn an_edge_that_is_new_is_not_renewed_for_an_old_wish() {
    let scene = Scene::new().await;
    scene.heard(&scene.wanting(asking("before"))).await;
    assert_eq!(scene.nodeman.answers(), ["enroll 200"]);
    assert_eq!(scene.annotation("dnstapir.se/nodeman-url"), scene.nodeman.server.uri());
}

#[tokio::test]
async fn used_credentials_may_be_deleted_and_renewal_goes_on() {
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE));
    let credentials = CredentialsFound::Missing { what: "gone".into() };
    let round = scene.heard(&Wanted { credentials, ..scene.wanting(renewing()) }).await;
    assert!(matches!(round.renewal, Some(Ok(()))), "{:?}", round.renewal);
    // Nowhere to ask: said, and not guessed.
    let mut identity = scene.server.get(IDENTITY).unwrap();
    identity["metadata"]["annotations"].as_object_mut().unwrap().remove("dnstapir.se/nodeman-url");
    scene.server.put(IDENTITY, identity);
    let credentials = CredentialsFound::Missing { what: "gone".into() };
    let round = scene.heard(&Wanted { credentials, ..scene.wanting(looking()) }).await;
    assert!(matches!(round.refresh, Some(Err(KeepError::NoAddress(_)))), "{:?}", round.refresh);
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_like_any_other() {
    let scene = Scene::enrolled().await;
    let (now, until) = (at("2028-01-01T00:00:00Z"), at("2028-03-31T00:00:00Z"));
    scene.clock.set(now);
    scene.nodeman.issue_for(now, until);
    let round = scene.heard(&scene.wanting(renewing())).await;
    assert!(matches!(round.renewal, Some(Ok(()))));
    check_pair(&scene);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_had_does_not_keep_a_good_certificate_away() {
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE));
    // One renewal gets through, and what follows does not.
    scene.nodeman.remove_configuration();
    let before = scene.member("trusted-jwks.json");
    let round = scene.heard(&scene.wanting(renewing())).await;
    assert!(matches!((&round.renewal, &round.refresh), (Some(Ok(())), Some(Err(_)))), "{round:?}");
    assert_eq!(scene.member("trusted-jwks.json"), before);
    check_pair(&scene);
}

#[tokio::test]
async fn a_lifetime_that_the_ca_refuses_is_done_without() {
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE));
    let wanted = scene.wanting(WantedFromCore { lifetime: Some(3600), ..renewing() });
    scene.nodeman.grant_default_lifetimes_only();
    let round = scene.heard(&wanted).await;
    assert!(matches!(round.renewal, Some(Ok(()))), "{:?}", round.renewal);
    assert_eq!(scene.nodeman.lifetimes()[1..], [json!(3600), Value::Null]);
}

#[tokio::test]
async fn the_keys_of_an_identity_follow_core_and_a_shuffle_is_no_change() {
    let scene = Scene::enrolled().await;
    scene.nodeman.trust(&["core-2", "core"]);
    let round = scene.heard(&scene.wanting(looking())).await;
    assert_eq!(round.news, [News::TrustedKeysChanged { withdrawn: Vec::new() }]);
    assert_eq!(scene.trusted(), ["core", "core-2"]);
    scene.server.forget_writes();
    scene.nodeman.trust(&["core", "core-2"]);
    let before = scene.server.reads().len();
    scene.heard(&scene.wanting(looking())).await;
    assert_eq!(scene.server.writes(), [""; 0]);
    assert_eq!(scene.server.reads().len() - before, 3, "identity, pending and rescue, once");
    // One is withdrawn: distrusted with the next look.
    scene.nodeman.trust(&["core-2"]);
    let round = scene.heard(&scene.wanting(looking())).await;
    assert_eq!(round.news, [News::TrustedKeysChanged { withdrawn: vec!["core".to_owned()] }]);
    assert_eq!(scene.trusted(), ["core-2"]);
    scene.nodeman.trust(&[]);
    let round = scene.heard(&scene.wanting(looking())).await;
    assert_eq!(round.news, [News::TrustedKeysEmpty]);
    assert_eq!(scene.trusted(), [""; 0]);
    check_pair(&scene);
}

#[tokio::test]
async fn nonsense_and_silence_take_no_key_away() {
    let scene = Scene::enrolled().await;
    let before = scene.server.get(IDENTITY).unwrap();
    for fault in [(200, "<html>"), (200, "{}"), (503, "busy"), (500, "Internal Server Error")] {
        scene.nodeman.fault(Some(fault));
        let round = scene.heard(&scene.wanting(looking())).await;
        assert!(matches!(round.refresh, Some(Err(KeepError::Enrol(EnrolError::Nodeman(_))))), "{fault:?}");
        assert_eq!(scene.server.get(IDENTITY).unwrap(), before, "{fault:?}");
    }
}

/// An hour either way: what can be renewed is, what cannot is said with the cause, and nothing is asked for in a loop.
#[tokio::test]
async fn a_clock_that_is_off_by_an_hour_loses_nothing() {
    let hour = Duration::from_hours(1);
    // Ahead: Core takes it, and the certificate is good.
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE) + hour);
    assert!(matches!(scene.heard(&scene.wanting(renewing())).await.renewal, Some(Ok(()))));
    // Behind, by less than Core tolerates: the certificate begins in the future.
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE) - Duration::from_mins(4));
    assert!(matches!(scene.heard(&scene.wanting(renewing())).await.renewal, Some(Ok(()))));
    // Behind by an hour: Core refuses such requests, and an answer that came all the same is not trusted.
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE) - hour);
    let before = scene.server.get(IDENTITY).unwrap();
    let round = scene.heard(&scene.wanting(renewing())).await;
    let Some(Err(KeepError::Enrol(EnrolError::Nodeman(error)))) = round.renewal else { panic!("{:?}", round.renewal) };
    assert!(matches!(&error, NodemanError::Nonsense(why) if why.contains("clock")), "{error}");
    assert_eq!(scene.server.get(IDENTITY).unwrap(), before);
    let refused = (400, r#"{"detail":"Bad Request"}"#);
    scene.nodeman.fault(Some(refused));
    let round = scene.heard(&scene.wanting(renewing())).await;
    let Some(Err(KeepError::Enrol(EnrolError::Nodeman(error)))) = round.renewal else { panic!("{:?}", round.renewal) };
    assert_eq!(error.refusal(), Some(Refusal::BadRequest));

    // Certificates for two hours, and a clock that is so far ahead that each is due at once: one, and then a rest.
    let scene = Scene::enrolled().await;
    scene.clock.set(at(DUE) + 100 * Duration::from_mins(1));
    scene.nodeman.issue_for(at(DUE), at(DUE) + 2 * hour);
    for _ in 0..5 {
        scene.heard(&scene.wanting(renewing())).await;
    }
    assert_eq!(scene.nodeman.answers(), ["renew 200", "configuration 200"]);
}

#[tokio::test]
async fn a_certificate_that_does_not_belong_to_its_key_heals() {
    let scene = Scene::enrolled().await;
    let mut identity = scene.server.get(IDENTITY).unwrap();
    identity["data"]["tls.crt"] = identity["data"]["ca.crt"].clone();
    identity["metadata"]["annotations"].as_object_mut().unwrap().remove("dnstapir.se/renewed-at");
    scene.server.put(IDENTITY, identity);
    scene.nodeman.issue_for(at(ISSUED), at(ENDS));
    assert!(matches!(scene.heard(&scene.wanting(renewing())).await.renewal, Some(Ok(()))));
    check_pair(&scene);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_its_turn_is() {
    let mut scene = Scene::enrolled().await;
    scene.keeper = scene.keeper.clone().with_calls_per_second(1);
    let (mut turns, begun) = (Vec::new(), std::time::Instant::now());
    while turns.len() < 2 {
        let round = scene.heard(&scene.wanting(looking())).await;
        if let Some(Err(KeepError::Later(turn))) = round.refresh {
            turns.push(turn);
        }
    }
    // Two at once, and on a machine so slow that it takes seconds, one more in each of them.
    let most = 2 + begun.elapsed().as_secs();
    assert!((2..=most).contains(&(scene.nodeman.answers().len() as u64)), "{:?} {turns:?}", scene.nodeman.answers());
    assert!(turns.iter().all(|turn| *turn > begun));
}
