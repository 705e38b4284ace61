//! No private key and no credential is shown: not in logs, Events, status, other objects, metrics, or in the words of an error.

use std::io::Write;
use std::sync::Mutex;

use super::scene::*;
use super::*;

/// Part of everything secret in the credentials of these tests.
const CANARY: &str = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmE";

/// Collects what is logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    pub(super) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || log.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }
}

/// Everything private in the Secrets that there are: members of private keys, lines of PEM, also in base64.
fn private_values(scene: &Scene) -> Vec<String> {
    let mut values = vec![CANARY.to_owned()];
    for secret in scene.server.list("/secrets/") {
        for (member, encoded) in secret["data"].as_object().into_iter().flatten() {
            let bytes = BASE64_STANDARD.decode(encoded.as_str().unwrap()).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            match member.as_str() {
                "datakey.jwk" | "datakey-priv.json" | "credentials.json" => {
                    let key: Value = serde_json::from_str(&text).unwrap_or_default();
                    let found = [&key["d"], &key["key"]["d"], &key["key"]["k"]];
                    values.extend(found.into_iter().filter_map(Value::as_str).map(str::to_owned));
                    values.push(encoded.as_str().unwrap().to_owned());
                }
                "tls.key" => {
                    values.extend(text.lines().filter(|line| !line.contains("-----")).map(str::to_owned));
                    values.push(encoded.as_str().unwrap().to_owned());
                }
                "cryptopan.key" => values.push(text),
                _ => {}
            }
        }
    }
    values.retain(|value| value.len() >= 16);
    values
}

/// What somebody without rights on Secrets may come to see.
fn shown(scene: &Scene, log: &Log, errors: &str) -> String {
    scene.server.dump_shown() + &scene.context.metrics.render() + &log.text() + errors
}

fn check(scene: &Scene, log: &Log, errors: &str, case: &str) {
    let everything = shown(scene, log, errors);
    let private = private_values(scene);
    assert!(!private.is_empty());
    for value in private {
        assert!(!everything.contains(&value), "{case}: something private is shown: {}…", &value[..6]);
    }
}

/// Credentials whose secret is the marker.
fn canary(scene: &Scene, node: &str) -> String {
    json!({"name": node, "key": {"kty": "oct", "kid": "0011", "alg": "HS256", "k": CANARY}, "nodeman_url": scene.nodeman.server.uri()})
        .to_string()
}

#[tokio::test]
async fn nothing_private_is_shown_in_the_whole_life_of_an_identity() {
    let log = Log::default();
    let _listening = log.listen();
    let scene = Scene::new().await;
    scene.nodeman.add("b.edge.test");
    scene.server.put(CREDENTIALS, secret(&canary(&scene, NODE)));
    scene.settle(EDGE).await;
    check(&scene, &log, "", "enrolment");
    scene.annotate(EDGE, "dnstapir.se/renew-now", "1");
    scene.nodeman.trust(&["core-2"]);
    scene.settle(EDGE).await;
    scene.server.delete(IDENTITY);
    scene.settle(EDGE).await;
    check(&scene, &log, "", "renewal and rescue");
    scene.nodeman.remove(NODE);
    scene.server.put(CREDENTIALS, secret(&canary(&scene, "b.edge.test")));
    scene.look_again(EDGE).await;
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["node"]["name"], "b.edge.test");
    check(&scene, &log, "", "replacement");
    let everything = shown(&scene, &log, "");
    for expected in ["identity step done", "CertificateRenewed", "IdentityRestored", "IdentityReplaced", "core_requests"] {
        assert!(everything.contains(expected), "{expected} was to be looked through");
    }
}

/// Everything that can go wrong, with the marker in whatever is read.
#[tokio::test]
async fn nothing_private_is_shown_by_what_fails() {
    let good = |scene: &Scene| canary(scene, NODE);
    type Spoil = fn(&str) -> String;
    let bad: [(&str, Spoil); 6] = [
        ("whole", str::to_owned),
        ("cut off", |text| text[..text.len() - 20].to_owned()),
        ("no JSON", |_| CANARY.to_owned()),
        ("a list", |text| format!("[{text}]")),
        ("bad type", |text| text.replace("oct", CANARY)),
        ("no base64", |text| text.replace(CANARY, &format!("{CANARY}@@"))),
    ];
    let faults = [
        None,
        Some((503, CANARY)),
        Some((200, CANARY)),
        Some((422, r#"{"detail":[{"input":"Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmE"}]}"#)),
        Some((404, r#"{"detail":"Not Found"}"#)),
    ];
    for (case, spoil) in bad {
        for fault in faults {
            let log = Log::default();
            let _listening = log.listen();
            let scene = Scene::new().await;
            scene.server.put(CREDENTIALS, secret(&spoil(&good(&scene))));
            scene.nodeman.fault(fault);
            let errors = rounds(&scene).await;
            check(&scene, &log, &errors, &format!("{case}, {fault:?}"));
        }
    }
    // The API server refuses what is written, and the identity is spoilt by hand.
    for refused in ["POST /api/v1/namespaces/dns/secrets", "PUT /api/v1/namespaces/dns/secrets"] {
        let log = Log::default();
        let _listening = log.listen();
        let scene = Scene::new().await;
        scene.server.put(CREDENTIALS, secret(&good(&scene)));
        scene.server.refuse(Some((refused, 403)));
        let errors = rounds(&scene).await;
        check(&scene, &log, &errors, refused);
    }
    for (member, spoilt) in [("datakey.jwk", CANARY), ("tls.key", CANARY), ("node.json", CANARY), ("trusted-jwks.json", "{}")] {
        let log = Log::default();
        let _listening = log.listen();
        let scene = Scene::new().await;
        scene.server.put(CREDENTIALS, secret(&good(&scene)));
        scene.settle(EDGE).await;
        let mut identity = scene.server.get(IDENTITY).unwrap();
        identity["data"][member] = BASE64_STANDARD.encode(spoilt).into();
        scene.server.put(IDENTITY, identity);
        scene.annotate(EDGE, "dnstapir.se/renew-now", "1");
        let errors = rounds(&scene).await;
        check(&scene, &log, &errors, member);
    }
    // An installation that is to be taken over.
    for spoil in [|text: &str| text.to_owned(), |text: &str| text.replace("Ed25519", "Ed448"), |text: &str| text[..90].to_owned()]
    {
        let log = Log::default();
        let _listening = log.listen();
        let scene = Scene::new().await;
        let key = tapir_wire::jwk::DataKey::generate(&NODE.parse().unwrap()).unwrap().to_jwk();
        let files = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "vm", "namespace": "dns"},
            "data": {"datakey-priv.json": BASE64_STANDARD.encode(key.as_bytes())}});
        scene.server.put("/api/v1/namespaces/dns/secrets/vm", files.clone());
        let mut broken = files;
        broken["data"]["datakey-priv.json"] = BASE64_STANDARD.encode(spoil(&key)).into();
        broken["metadata"]["name"] = "broken".into();
        scene.server.put("/api/v1/namespaces/dns/secrets/broken", broken);
        let mut edge = scene.server.get(EDGE).unwrap();
        edge["spec"]["enrollment"] =
            json!({"existingIdentitySecretRef": {"name": "broken", "nodemanUrl": scene.nodeman.server.uri()}});
        scene.server.put(EDGE, edge);
        let errors = rounds(&scene).await;
        check(&scene, &log, &errors, "taken over");
    }
}

/// A few rounds, and what their errors say, also to those who print them in full.
async fn rounds(scene: &Scene) -> String {
    let mut errors = String::new();
    for _ in 0..4 {
        if let Err(error) = scene.look_at_identity(EDGE).await {
            errors.push_str(&format!("{error} {error:?}\n"));
        }
        if let Err(error) = scene.once_without_identity(EDGE).await {
            errors.push_str(&format!("{error} {error:?}\n"));
        }
    }
    errors
}
