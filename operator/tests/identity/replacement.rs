//! An edge whose node was removed at Core, and that becomes another one.

use super::*;

const OTHER: &str = "b.edge.test";

impl Scene {
    fn with_credentials_of(&self, node: &str, may_refresh: bool) -> Wanted {
        let text = self.nodeman.credentials(node);
        let credentials = CredentialsFound::Valid {
            credentials: Credentials::parse(&text).unwrap(),
            fingerprint: fingerprint(&text),
            nodeman_url: self.nodeman.server.uri(),
        };
        Wanted { credentials, from_core: WantedFromCore { may_refresh, ..WantedFromCore::default() }, ..self.wanted() }
    }

    fn retired(&self) -> Vec<String> {
        let dump = self.server.dump_without("/nothing");
        let names = dump.lines().filter_map(|line| line.split_once(' ')).map(|(path, _)| path.to_owned());
        names.filter(|path| path.contains("stockholm-identity-retired-")).collect()
    }

    fn assert_replaced(&self, old: &Value, case: &str) {
        assert_eq!(self.stored_key(IDENTITY), self.nodeman.key_of(OTHER), "{case}: not the node that Core knows");
        assert_eq!(self.server.get(EDGE).unwrap()["metadata"]["annotations"]["dnstapir.se/node"], OTHER, "{case}");
        assert!(self.server.get(PENDING).is_none(), "{case}");
        let retired = self.retired();
        assert_eq!(retired.len(), 1, "{case}");
        assert_eq!(self.server.get(&retired[0]).unwrap()["data"], *old, "{case}: the old key is lost");
        assert!(self.server.get(&retired[0]).unwrap()["metadata"]["finalizers"].is_null(), "{case}");
    }
}

async fn removed() -> (Scene, Value) {
    let scene = Scene::enrolled().await;
    let old = scene.server.get(IDENTITY).unwrap()["data"].clone();
    scene.nodeman.issue_for(at(renewal::ISSUED), at(renewal::ENDS));
    scene.nodeman.add(OTHER);
    scene.nodeman.remove(NODE);
    (scene, old)
}

#[tokio::test]
async fn an_edge_becomes_another_node_when_its_own_was_removed() {
    let (scene, old) = removed().await;
    let round = scene.heard(&scene.with_credentials_of(OTHER, true)).await;
    assert_eq!(round.news, [News::Replaced { from: NODE.to_owned(), to: OTHER.to_owned() }]);
    assert!(!round.removed(), "what was said of the old node is not said of the new one");
    scene.assert_replaced(&old, "");
    assert_eq!(scene.nodeman.answers(), ["configuration 404", "enroll 200"]);
    scene.server.forget_writes();
    scene.keeper.keep(&scene.with_credentials_of(OTHER, false)).await.unwrap();
    assert_eq!(scene.server.writes(), [""; 0]);
}

#[tokio::test]
async fn neither_proof_alone_makes_another_node() {
    // Credentials of another node while the own one is known.
    let scene = Scene::enrolled().await;
    scene.nodeman.add(OTHER);
    scene.heard(&scene.with_credentials_of(OTHER, true)).await;
    assert_eq!(scene.server.writes(), [""; 0]);
    // A removal with the credentials of before.
    let (scene, _) = removed().await;
    let round = scene.heard(&scene.with_credentials_of(NODE, true)).await;
    assert!(round.removed());
    assert_eq!(scene.server.writes(), [""; 0]);
    // A removal that was heard in an earlier round only.
    scene.heard(&scene.with_credentials_of(OTHER, false)).await;
    assert_eq!(scene.server.writes(), [""; 0]);
    // Something that is no nodeman says 404.
    scene.nodeman.fault(Some((404, "<html>")));
    scene.heard(&scene.with_credentials_of(OTHER, true)).await;
    assert_eq!(scene.server.writes(), [""; 0]);
}

#[tokio::test]
async fn whichever_write_of_a_replacement_is_lost_there_is_one_node_and_the_old_key_is_kept() {
    // Pending, archive, identity, record, pending's end.
    for number in 0..5 {
        for loss in [Loss::BeforeEffect, Loss::AfterEffect] {
            let (scene, old) = removed().await;
            scene.server.lose(number, loss);
            let _ = scene.keeper.keep(&scene.with_credentials_of(OTHER, true)).await;
            assert_eq!(scene.nodeman.answers().iter().filter(|answer| *answer == "enroll 200").count(), usize::from(number > 0));
            scene.keeper.keep(&scene.with_credentials_of(OTHER, true)).await.unwrap();
            scene.assert_replaced(&old, &format!("write {number} {loss:?}"));
            assert_eq!(scene.nodeman.answers().iter().filter(|answer| *answer == "enroll 200").count(), 1);
        }
    }
    let (scene, old) = removed().await;
    scene.nodeman.lose_enrolments(1);
    let round = scene.heard(&scene.with_credentials_of(OTHER, true)).await;
    assert!(matches!(round.replacement, Some(KeepError::Enrol(_))), "{round:?}");
    assert_eq!(scene.server.get(IDENTITY).unwrap()["data"], old, "the old identity stays until the new one is there");
    scene.keeper.keep(&scene.with_credentials_of(OTHER, true)).await.unwrap();
    scene.assert_replaced(&old, "lost answer");
}

#[tokio::test]
async fn a_replacement_on_hold_leaves_core_alone_and_the_old_identity_in_place() {
    let (scene, old) = removed().await;
    let wanted = Wanted { hold: true, ..scene.with_credentials_of(OTHER, true) };
    let round = scene.heard(&wanted).await;
    assert!(matches!(round.replacement, Some(KeepError::Held)));
    assert_eq!(scene.nodeman.answers(), ["configuration 404"]);
    assert_eq!(scene.server.get(IDENTITY).unwrap()["data"], old);
}
