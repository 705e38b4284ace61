//! A nodeman with one node: issues real certificates, keeps the data key it was enrolled with, and can lose an answer. The strict one is
//! the dev Core of the cluster tests; this one exists so that a test needs no process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tapir_wire::jwk::TrustedKeys;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

#[derive(Default)]
struct State {
    /// Data keys on record, by node.
    public_keys: BTreeMap<String, Value>,
    /// Nodes that there are beside the first one, and whether the first one is still there.
    more: Vec<String>,
    removed: Vec<String>,
    lose_enrolments: usize,
    lose_renewals: usize,
    /// Validity of certificates, in seconds since 1970.
    validity: Option<(i64, i64)>,
    /// The CA grants its default lifetime only.
    default_lifetime_only: bool,
    lifetimes: Vec<Value>,
    trusted: Vec<String>,
    no_configuration: bool,
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    answers: Vec<String>,
    fault: Option<(u16, String)>,
    hangs: bool,
}

/// The stand-in.
pub struct Nodeman {
    pub server: MockServer,
    node: String,
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
        let state = Arc::new(Mutex::new(State { trusted: vec!["core".to_owned()], ..State::default() }));
        let server = MockServer::start().await;
        let answering =
            Answering { state: Arc::clone(&state), node: node.to_owned(), issuer: Issuer::new(parameters, key), root };
        Mock::given(any()).respond_with(answering).mount(&server).await;
        Self { server, state, node: node.to_owned() }
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

    /// Renewals take effect, as far as they have any, and their answers are lost.
    pub fn lose_renewals(&self, count: usize) {
        self.state.lock().unwrap().lose_renewals = count;
    }

    /// Certificates are valid from and until then.
    pub fn issue_for(&self, from: Timestamp, until: Timestamp) {
        self.state.lock().unwrap().validity = Some((from.as_second(), until.as_second()));
    }

    pub fn grant_default_lifetimes_only(&self) {
        self.state.lock().unwrap().default_lifetime_only = true;
    }

    /// Lifetimes that were asked for, null where none was.
    pub fn lifetimes(&self) -> Vec<Value> {
        self.state.lock().unwrap().lifetimes.clone()
    }

    /// Keys of these names may sign observations from now on.
    pub fn trust(&self, kids: &[&str]) {
        self.state.lock().unwrap().trusted = kids.iter().map(|kid| (*kid).to_owned()).collect();
    }

    /// Asked for the configuration, it fails.
    pub fn remove_configuration(&self) {
        self.state.lock().unwrap().no_configuration = true;
    }

    /// Something happens while the next answer is on its way.
    pub fn meanwhile(&self, event: impl FnOnce() + Send + 'static) {
        self.state.lock().unwrap().meanwhile = Some(Box::new(event));
    }

    /// There is another node.
    pub fn add(&self, node: &str) {
        self.state.lock().unwrap().more.push(node.to_owned());
    }

    /// A node was removed by the operator of Core.
    pub fn remove(&self, node: &str) {
        self.state.lock().unwrap().removed.push(node.to_owned());
    }

    /// Core was restored from a backup.
    pub fn restore(&self, node: &str) {
        self.state.lock().unwrap().removed.retain(|removed| removed != node);
    }

    /// A node was enrolled elsewhere.
    pub fn enrolled_elsewhere(&self, node: &str, key: Value) {
        self.state.lock().unwrap().public_keys.insert(node.to_owned(), key);
    }

    pub fn forget_answers(&self) {
        self.state.lock().unwrap().answers.clear();
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
        self.enrolled_elsewhere(&self.node, key.public_jwk());
    }

    /// `x` of the data key on record.
    pub fn enrolled_key(&self) -> Option<Value> {
        self.key_of(&self.node)
    }

    pub fn key_of(&self, node: &str) -> Option<Value> {
        self.state.lock().unwrap().public_keys.get(node).map(|key| key["x"].clone())
    }

    pub fn answers(&self) -> Vec<String> {
        self.state.lock().unwrap().answers.clone()
    }
}

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.state.lock().unwrap();
        if let Some(event) = state.meanwhile.take() {
            event();
        }
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
        if action == "renew" && status == 200 && state.lose_renewals > 0 {
            state.lose_renewals -= 1;
            return ResponseTemplate::new(502);
        }
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
        let mut segments = request.url.path().rsplit('/');
        let (action, node) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default().to_owned());
        let known = node == self.node || state.more.contains(&node);
        if !known || state.removed.contains(&node) {
            return detail(404, "Not Found");
        }
        let payload = if request.body.is_empty() { Value::Null } else { payload(&request.body) };
        if action != "configuration" {
            state.lifetimes.push(payload["x509_lifetime"].clone());
            if state.default_lifetime_only && payload["x509_lifetime"].is_number() {
                return detail(400, "Certificate request refused");
            }
        }
        match (action, state.public_keys.get(&node).cloned()) {
            ("configuration", Some(_)) if state.no_configuration => detail(500, "Internal Server Error"),
            ("configuration", Some(_)) => (200, configuration(state, &node)),
            ("enroll", Some(_)) => detail(400, "Node already enrolled"),
            ("enroll", None) => {
                state.public_keys.insert(node.clone(), payload["public_key"].clone());
                let mut body = self.certificate(state, &payload);
                body.as_object_mut().unwrap().extend(configuration(state, &node).as_object().unwrap().clone());
                (200, body)
            }
            ("renew", Some(key)) => {
                let keys = TrustedKeys::from_value(&json!({"keys": [key]})).unwrap();
                match tapir_wire::jws::verify(&request.body, &keys) {
                    Ok(_) => (200, self.certificate(state, &payload)),
                    Err(_) => detail(401, "Invalid data signature"),
                }
            }
            _ => detail(400, "Node not activated"),
        }
    }

    fn certificate(&self, state: &State, payload: &Value) -> Value {
        let mut request = CertificateSigningRequestParams::from_pem(payload["x509_csr"].as_str().unwrap()).unwrap();
        let at = |second: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(second.try_into().unwrap());
        (request.params.not_before, request.params.not_after) = match state.validity {
            None => (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2090, 1, 1)),
            Some((from, until)) => (at(from), at(until)),
        };
        request.params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        json!({"x509_certificate": request.signed_by(&self.issuer).unwrap().pem(), "x509_ca_certificate": self.root})
    }
}

fn configuration(state: &State, node: &str) -> Value {
    let key = |kid: &String| json!({"kty": "OKP", "kid": kid, "alg": "EdDSA", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys: Vec<Value> = state.trusted.iter().map(key).collect();
    json!({"name": node, "mqtt_broker": "mqtts://broker.test:8883", "mqtt_topics": {}, "trusted_jwks": {"keys": keys}})
}

fn payload(message: &[u8]) -> Value {
    let message: Value = serde_json::from_slice(message).unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(message["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
