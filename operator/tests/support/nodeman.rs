//! A nodeman with one node: issues real certificates, keeps the data key it was enrolled with, and can lose an answer. The strict one is
//! the dev Core of the cluster tests; this one exists so that a test needs no process.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tapir_wire::jwk::TrustedKeys;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

#[derive(Default)]
struct State {
    public_key: Option<Value>,
    lose_enrolments: usize,
    answers: Vec<String>,
    fault: Option<(u16, String)>,
    hangs: bool,
}

/// The stand-in.
pub struct Nodeman {
    pub server: MockServer,
    state: Arc<Mutex<State>>,
}

struct Answering {
    state: Arc<Mutex<State>>,
    node: String,
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Nodeman {
    pub async fn start(node: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = parameters.self_signed(&key).unwrap().pem();
        let (server, state) = (MockServer::start().await, Arc::<Mutex<State>>::default());
        let answering =
            Answering { state: Arc::clone(&state), node: node.to_owned(), issuer: Issuer::new(parameters, key), root };
        Mock::given(any()).respond_with(answering).mount(&server).await;
        Self { server, state }
    }

    /// Credentials as Core's administrator hands them out.
    pub fn credentials(&self, node: &str) -> String {
        let k = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        json!({"name": node, "key": {"kty": "oct", "kid": "0011", "alg": "HS256", "k": k}, "nodeman_url": self.server.uri()})
            .to_string()
    }

    pub fn lose_enrolments(&self, count: usize) {
        self.state.lock().unwrap().lose_enrolments = count;
    }

    /// Answers everything so from now on.
    pub fn fault(&self, fault: Option<(u16, &str)>) {
        self.state.lock().unwrap().fault = fault.map(|(status, body)| (status, body.to_owned()));
    }

    /// Takes every question and answers none from now on.
    pub fn hang(&self) {
        self.state.lock().unwrap().hangs = true;
    }

    /// Questions that have arrived, answered or not.
    pub async fn asked(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }

    /// Somebody else enrolled the node.
    pub fn enrol_somebody_else(&self) {
        let key = tapir_wire::jwk::DataKey::generate(&tapir_wire::node_name::NodeName::parse("x.edge.test").unwrap()).unwrap();
        self.state.lock().unwrap().public_key = Some(key.public_jwk());
    }

    /// `x` of the data key on record.
    pub fn enrolled_key(&self) -> Option<Value> {
        self.state.lock().unwrap().public_key.as_ref().map(|key| key["x"].clone())
    }

    pub fn answers(&self) -> Vec<String> {
        self.state.lock().unwrap().answers.clone()
    }
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.state.lock().unwrap();
        if state.hangs {
            return ResponseTemplate::new(200).set_delay(std::time::Duration::from_hours(1));
        }
        let (status, answer) = match &state.fault {
            Some((status, body)) => (*status, Err(body.clone())),
            None => {
                let (status, body) = self.answer(&mut state, request);
                (status, Ok(body))
            }
        };
        let action = request.url.path().rsplit('/').next().unwrap().to_owned();
        state.answers.push(format!("{action} {status}"));
        if action == "enroll" && status == 200 && state.lose_enrolments > 0 {
            state.lose_enrolments -= 1;
            return ResponseTemplate::new(502);
        }
        match answer {
            Ok(body) => ResponseTemplate::new(status).set_body_json(body),
            Err(body) => ResponseTemplate::new(status).set_body_string(body),
        }
    }
}

impl Answering {
    fn answer(&self, state: &mut State, request: &Request) -> (u16, Value) {
        let detail = |status, detail: &str| (status, json!({"detail": detail}));
        if !request.url.path().starts_with(&format!("/api/v1/node/{}/", self.node)) {
            return detail(404, "Not Found");
        }
        match (request.url.path().rsplit('/').next(), &state.public_key) {
            (Some("configuration"), Some(_)) => (200, self.configuration()),
            (Some("enroll"), Some(_)) => detail(400, "Node already enrolled"),
            (Some("enroll"), None) => {
                let payload = payload(&request.body);
                state.public_key = Some(payload["public_key"].clone());
                let mut body = self.certificate(&payload);
                body.as_object_mut().unwrap().extend(self.configuration().as_object().unwrap().clone());
                (200, body)
            }
            (Some("renew"), Some(key)) => {
                let keys = TrustedKeys::from_value(&json!({"keys": [key]})).unwrap();
                match tapir_wire::jws::verify(&request.body, &keys) {
                    Ok(_) => (200, self.certificate(&payload(&request.body))),
                    Err(_) => detail(401, "Invalid data signature"),
                }
            }
            _ => detail(400, "Node not activated"),
        }
    }

    fn certificate(&self, payload: &Value) -> Value {
        let mut request = CertificateSigningRequestParams::from_pem(payload["x509_csr"].as_str().unwrap()).unwrap();
        request.params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        request.params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        request.params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        json!({"x509_certificate": request.signed_by(&self.issuer).unwrap().pem(), "x509_ca_certificate": self.root})
    }

    fn configuration(&self) -> Value {
        let key = json!({"kty": "OKP", "kid": "core", "alg": "EdDSA", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        json!({"name": self.node, "mqtt_broker": "mqtts://broker.test:8883", "mqtt_topics": {}, "trusted_jwks": {"keys": [key]}})
    }
}

fn payload(message: &[u8]) -> Value {
    let message: Value = serde_json::from_slice(message).unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(message["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
