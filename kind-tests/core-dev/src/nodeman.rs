//! Nodeman's HTTP API towards edges: enrolment, renewal and the open reads. Every answer is the real service's, byte for byte
//! where it was recorded; a Core that accepts what the real one refuses would make every test against it worthless.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::seq::SliceRandom as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::authority::{Authority, AuthorityError, Issued};
use crate::clock::{Clock, seconds, stored_milliseconds};
use crate::csr::{self, CsrError};
use crate::encoding::{pem, percent_decode};
use crate::jose::Jws;
use crate::jwk::{PublicJwk, VerifyingKey};
use crate::message::{Answer, Request, method_not_allowed, missing_header};
use crate::networks::Network;
use crate::nodes::{EnrolmentKeyKind, Node, Nodes, is_node_name};
use crate::payload::Payload;

/// More than a Core that rotates its keys ever lists.
const MAXIMUM_TRUSTED_KEYS: usize = 100;

/// What an operator configures.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names of new nodes end in `.` and this.
    pub service_domain: String,
    /// URL.
    pub mqtt_broker: String,
    /// Free-form object of strings.
    pub mqtt_topics: Value,
    /// Public keys that may sign observations, at the start.
    pub trusted_keys: Vec<Value>,
    /// Members left out of the served trusted keys (`alg`, `kid`): real sets may lack them.
    pub trusted_keys_without: Vec<String>,
    /// Base URL, null members are left out of answers.
    pub nodeman_url: Option<String>,
    /// Base URL.
    pub aggrec_url: Option<String>,
    /// `max-age` of the configuration.
    pub configuration_max_age: u32,
    /// Basic authentication of the administrator.
    pub administrator: (String, String),
    /// Kind of enrolment keys made from now on.
    pub enrolment_keys: EnrolmentKeyKind,
    /// Who may see health and statistics.
    pub allowed_networks: Vec<Network>,
}

impl Settings {
    /// Core's refusal of monitoring to strangers.
    pub(crate) fn refuse_stranger(&self, request: &Request) -> Option<Answer> {
        let allowed = request.peer.is_some_and(|peer| self.allowed_networks.iter().any(|network| network.contains(peer)));
        (!allowed).then(|| Answer::detail(403, "Forbidden"))
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Nodeman {
    pub(crate) settings: Arc<Settings>,
    authority: Arc<Authority>,
    nodes: Arc<Mutex<Nodes>>,
    trusted_keys: Arc<Mutex<Vec<Value>>>,
    pub(crate) clock: Clock,
}

impl Nodeman {
    /// A service without nodes.
    #[must_use]
    pub fn new(settings: Settings, authority: Authority, clock: Clock) -> Self {
        let trusted_keys = Arc::new(Mutex::new(settings.trusted_keys.clone()));
        Self { settings: Arc::new(settings), authority: Arc::new(authority), nodes: Arc::default(), trusted_keys, clock }
    }

    /// The nodes. A panic elsewhere cannot leave them half changed: every change is one assignment at the end.
    pub fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The CA of the nodes.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Lists one key more; false when one of its name is listed already, or too many are.
    #[must_use]
    pub fn trust(&self, key: Value) -> bool {
        let mut keys = self.trusted();
        let fits = keys.len() < MAXIMUM_TRUSTED_KEYS && keys.iter().all(|other| other["kid"] != key["kid"]);
        if fits {
            keys.push(key);
        }
        fits
    }

    /// Lists a key no longer; false when it was not listed.
    #[must_use]
    pub fn distrust(&self, kid: &str) -> bool {
        let mut keys = self.trusted();
        let before = keys.len();
        keys.retain(|key| key["kid"] != kid);
        keys.len() < before
    }

    /// Names of the listed keys.
    #[must_use]
    pub fn trusted_kids(&self) -> Vec<String> {
        self.trusted().iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()
    }

    fn trusted(&self) -> MutexGuard<'_, Vec<Value>> {
        self.trusted_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        let answer = self.route(request);
        if answer.closes {
            return answer;
        }
        answer
            .with("x-request-id", uuid::Uuid::new_v4().to_string())
            .with("server", format!("dnstapir-nodeman/{}", tapir_version::VERSION))
    }

    fn route(&self, request: &Request) -> Answer {
        let method = request.method.as_str();
        let Some(rest) = request.path().strip_prefix("/api/v1/") else { return Answer::detail(404, "Not Found") };
        let parts: Vec<&str> = rest.split('/').collect();
        match (&parts[..], method) {
            (["healthcheck"], "GET") => self.settings.refuse_stranger(request).unwrap_or_else(|| self.health()),
            (["healthcheck"], _) => method_not_allowed("GET"),
            (["node"] | ["nodes"] | ["node", _], _) => self.administer(&parts, request),
            (["node", name, action @ ("enroll" | "renew")], "POST") => named(name, |name| self.post(&name, action, request)),
            (["node", _, "enroll" | "renew"], _) => method_not_allowed("POST"),
            (["node", name, action @ ("configuration" | "certificate" | "public_key")], "GET") => {
                named(name, |name| self.read(&name, action, request))
            }
            (["node", _, "configuration" | "certificate" | "public_key"], _) => method_not_allowed("GET"),
            _ => Answer::detail(404, "Not Found"),
        }
    }

    fn post(&self, name: &str, action: &str, request: &Request) -> Answer {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get(name).cloned() else { return Answer::detail(404, "Not Found") };
        let result = if action == "enroll" { self.enrol(node, request) } else { self.renew(node, request) };
        match result {
            Ok((node, answer)) => {
                // All checks are behind us: only now anything is changed, so that a failed attempt costs nothing.
                nodes.certificates += 1;
                if let Some(entry) = nodes.get_mut(name) {
                    *entry = node;
                }
                answer
            }
            Err(refusal) => refusal,
        }
    }

    fn enrol(&self, mut node: Node, request: &Request) -> Result<(Node, Answer), Answer> {
        if node.activated.is_some() {
            return Err(Answer::detail(400, "Node already enrolled"));
        }
        let enrolment_key = node
            .enrolment_key
            .as_ref()
            .and_then(VerifyingKey::from_enrolment_jwk)
            .ok_or_else(|| Answer::detail(400, "Node enrollment failed"))?;
        let jws = Jws::parse_any(&request.body).map_err(|_| Answer::failure())?;
        if !jws.any_signature_by(&enrolment_key) {
            return Err(Answer::detail(401, "Invalid enrollment signature"));
        }
        let bad_request = |error| {
            tracing::debug!(node = node.name, %error, "payload refused");
            Answer::detail(400, "Bad Request")
        };
        let payload = Payload::parse(&jws.payload, self.clock.now()).map_err(bad_request)?;
        let (public_key, kid) = payload.public_key().map_err(bad_request)?;
        verify_data_signature(&jws, &public_key)?;
        if kid.is_some_and(|kid| kid != node.name) {
            return Err(Answer::detail(403, "Invalid data name"));
        }
        let issued = self.issue(&payload, &node.name)?;
        node.public_key = Some(public_key);
        node.enrolment_key = None;
        node.activated = Some(self.clock.now());
        node.certificate = Some(issued.clone());
        let mut members = self.certificate_members(&issued);
        members.extend(self.configuration_members(&node.name));
        Ok((node, Answer::json(200, &Value::Object(members))))
    }

    fn renew(&self, mut node: Node, request: &Request) -> Result<(Node, Answer), Answer> {
        let Some(public_key) = node.public_key.clone() else { return Err(Answer::detail(400, "Node not activated")) };
        let jws = Jws::parse_any(&request.body).map_err(|_| Answer::failure())?;
        verify_data_signature(&jws, &public_key)?;
        let payload = Payload::parse(&jws.payload, self.clock.now()).map_err(|_| Answer::detail(400, "Bad Request"))?;
        let issued = self.issue(&payload, &node.name)?;
        node.certificate = Some(issued.clone());
        Ok((node, Answer::json(200, &Value::Object(self.certificate_members(&issued)))))
    }

    fn issue(&self, payload: &Payload, name: &str) -> Result<Issued, Answer> {
        let spki = csr::check(&payload.csr, name).map_err(|error| {
            tracing::debug!(node = name, %error, "CSR refused");
            if error == CsrError::Unreadable {
                Answer::detail(400, "Invalid CSR")
            } else {
                Answer::detail(500, "Error issuing certificate")
            }
        })?;
        self.authority.issue(&spki, name, payload.lifetime, self.clock.now()).map_err(|error| match error {
            AuthorityError::Lifetime => Answer::detail(400, "Certificate request refused"),
            AuthorityError::Issue(_) | AuthorityError::Date => Answer::detail(500, "Error issuing certificate"),
        })
    }

    fn certificate_members(&self, issued: &Issued) -> Map<String, Value> {
        let chain = format!("{}{}", issued.leaf, self.authority.issuer_certificate);
        let members = [
            ("x509_certificate", chain),
            ("x509_ca_certificate", self.authority.root_certificate.clone()),
            ("x509_certificate_serial_number", issued.serial.clone()),
            ("x509_certificate_not_valid_after", seconds(issued.not_after)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    fn configuration_members(&self, name: &str) -> Map<String, Value> {
        let settings = &self.settings;
        let mut members = Map::new();
        members.insert("name".into(), name.into());
        members.insert("mqtt_broker".into(), settings.mqtt_broker.as_str().into());
        members.insert("mqtt_topics".into(), settings.mqtt_topics.clone());
        members.insert("trusted_jwks".into(), json!({"keys": self.trusted_keys()}));
        for (member, url) in [("nodeman_url", &settings.nodeman_url), ("aggrec_url", &settings.aggrec_url)] {
            if let Some(url) = url {
                members.insert(member.into(), url.as_str().into());
            }
        }
        members
    }

    /// In an order that nobody may rely on.
    fn trusted_keys(&self) -> Vec<Value> {
        let mut keys = self.trusted().clone();
        for key in keys.iter_mut().filter_map(Value::as_object_mut) {
            for member in &self.settings.trusted_keys_without {
                key.shift_remove(member);
            }
        }
        keys.shuffle(&mut rand::rng());
        keys
    }

    fn read(&self, name: &str, action: &str, request: &Request) -> Answer {
        let Some(node) = self.nodes().get(name).cloned() else {
            // The framework complains about a missing header before the service looks for the node.
            let header_missing = action == "public_key" && request.header("accept").is_none();
            return if header_missing {
                Answer::unprocessable(&[missing_header("accept")])
            } else {
                Answer::detail(404, "Not Found")
            };
        };
        match action {
            "configuration" if node.activated.is_none() => Answer::detail(400, "Node not activated"),
            "configuration" => Answer::json(200, &Value::Object(self.configuration_members(name)))
                .with("cache-control", format!("public, max-age={}", self.settings.configuration_max_age)),
            "certificate" => node.certificate.map_or_else(
                || Answer::detail(404, "Not Found"),
                |issued| {
                    Answer::json(
                        200,
                        &json!({
                            "x509_certificate": issued.leaf,
                            "x509_certificate_serial_number": issued.serial,
                            "x509_certificate_not_valid_after": seconds(issued.not_after),
                        }),
                    )
                },
            ),
            _ => public_key(&node, request),
        }
    }

    fn health(&self) -> Answer {
        let nodes = self.nodes();
        let der = x509_parser::pem::parse_x509_pem(self.authority.root_certificate.as_bytes())
            .map(|(_, block)| block.contents)
            .unwrap_or_default();
        Answer::json(
            200,
            &json!({
                "status": "OK", "node_count": nodes.iter().count(), "cert_count": nodes.certificates, "ca_fingerprint": hex::encode(Sha256::digest(der)),
            }),
        )
    }
}

/// As the administrator sees a node.
pub(crate) fn information(node: &Node) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("name".into(), node.name.as_str().into());
    members.insert(
        "public_key".into(),
        node.public_key.as_ref().map_or(Value::Null, |key| Value::Object(key.administrator_members())),
    );
    members.insert("activated".into(), node.activated.map_or(Value::Null, |time| stored_milliseconds(time).into()));
    members.insert("tags".into(), node.tags.clone().into());
    members
}

/// Runs `then` with the decoded name, if it is one.
pub(crate) fn named(encoded: &str, then: impl FnOnce(String) -> Answer) -> Answer {
    percent_decode(encoded).filter(|name| is_node_name(name)).map_or_else(|| Answer::detail(400, "Invalid node name"), then)
}

fn verify_data_signature(jws: &Jws, key: &PublicJwk) -> Result<(), Answer> {
    let verified = key.key().is_some_and(|key| jws.any_signature_by(&VerifyingKey::Public(key)));
    verified.then_some(()).ok_or_else(|| Answer::detail(401, "Invalid data signature"))
}

fn public_key(node: &Node, request: &Request) -> Answer {
    let Some(accept) = request.header("accept") else { return Answer::unprocessable(&[missing_header("accept")]) };
    if request.query("tags").is_some_and(|tags| !node.has_tags(&tags)) {
        return Answer::detail(404, "Not Found");
    }
    match accept.as_str() {
        "application/jwk+json" | "application/json" | "*/*" => Answer::content(200, "application/jwk+json", node.public_jwk()),
        "application/x-pem-file" => node.public_key.as_ref().and_then(PublicJwk::key).map_or_else(Answer::failure, |key| {
            Answer::content(200, "application/x-pem-file", pem("PUBLIC KEY", &key.spki_der()))
        }),
        _ => Answer::detail(406, "Not Acceptable"),
    }
}
