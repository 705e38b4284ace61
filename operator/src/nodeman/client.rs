//! The three calls an edge makes, and the checks that their answers must pass before anything is stored.

use std::fmt;
use std::sync::Arc;

use reqwest::Method;
use serde::de::DeserializeOwned;
use tapir_plan::clock::Clock;
use tapir_wire::certificate::{CertificateError, CertificateInfo, TlsKey, check_issued};
use tapir_wire::enrolment::{Configuration, EnrolmentAnswer, RenewalAnswer, endpoint};
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::node_name::NodeName;

use super::error::{NodemanError, Refusal, printable};
use super::skew::{Skew, TOLERATED};
use super::transport::Transport;

/// URL schemes of a broker that Core may name.
const BROKER_SCHEMES: [&str; 7] = ["mqtts", "tls", "ssl", "tcps", "mqtt+ssl", "mqtt", "tcp"];

/// nodeman, seen by one node.
#[derive(Clone)]
pub struct Nodeman {
    transport: Transport,
    base_url: String,
    name: NodeName,
    clock: Arc<dyn Clock>,
    skew: Skew,
}

impl fmt::Debug for Nodeman {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Nodeman").field("base_url", &self.base_url).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A certificate with its trust anchors, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub chain: String,
    pub anchors: String,
    pub info: CertificateInfo,
}

impl Nodeman {
    /// nodeman at a base URL.
    #[must_use]
    pub fn new(transport: Transport, base_url: &str, name: NodeName, clock: Arc<dyn Clock>) -> Self {
        Self { transport, base_url: base_url.to_owned(), name, clock, skew: Skew::default() }
    }

    /// How far this machine's clock is off, by nodeman's answers.
    #[must_use]
    pub fn skew(&self) -> &Skew {
        &self.skew
    }

    /// Where it is asked.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// `POST …/enroll`.
    ///
    /// # Errors
    /// By cause, see [`NodemanError`].
    pub async fn enrol(&self, request: String, key: &TlsKey) -> Result<(Issued, Configuration), NodemanError> {
        let answer: EnrolmentAnswer = self.call(Method::POST, "enroll", Some(request)).await?;
        let configuration = self.checked(answer.configuration)?;
        Ok((self.issued(answer.certificate, key)?, configuration))
    }

    /// `POST …/renew`.
    ///
    /// # Errors
    /// By cause, see [`NodemanError`].
    pub async fn renew(&self, request: String, key: &TlsKey) -> Result<Issued, NodemanError> {
        let answer: RenewalAnswer = self.call(Method::POST, "renew", Some(request)).await?;
        self.issued(answer, key)
    }

    /// `GET …/configuration`.
    ///
    /// # Errors
    /// By cause, see [`NodemanError`].
    pub async fn configuration(&self) -> Result<Configuration, NodemanError> {
        let answer: Configuration = self.call(Method::GET, "configuration", None).await?;
        self.checked(answer)
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, action: &str, body: Option<String>) -> Result<T, NodemanError> {
        let url = endpoint(&self.base_url, &self.name, action).map_err(|error| NodemanError::BadAddress(error.to_string()))?;
        let sent = self.clock.now();
        let answer = self.transport.call(method, &url, body).await?;
        self.skew.measure(answer.date, sent, self.clock.now());
        let bytes = answer.bytes.map_err(|error| self.explained(error))?;
        // serde's own text may quote the answer; position and category are enough to find the fault.
        serde_json::from_slice(&bytes).map_err(|error| {
            let (category, line, column) = (error.classify(), error.line(), error.column());
            NodemanError::Nonsense(format!(
                "{action}: not the expected JSON ({category:?} error in line {line}, column {column})"
            ))
        })
    }

    fn issued(&self, answer: RenewalAnswer, key: &TlsKey) -> Result<Issued, NodemanError> {
        let anchors =
            answer.x509_ca_certificate.ok_or_else(|| NodemanError::Nonsense("no CA certificate in the answer".to_owned()))?;
        let info = self.check(&answer.x509_certificate, &anchors, key).map_err(|error| {
            let nonsense = NodemanError::Nonsense(printable(&error.to_string()));
            match error {
                CertificateError::Expired(_) | CertificateError::NotYetValid(_) => self.explained(nonsense),
                _ => nonsense,
            }
        })?;
        Ok(Issued { chain: answer.x509_certificate, anchors, info })
    }

    /// A clock may be as slow as nodeman tolerates: then the certificate begins in the future, and is checked as of its beginning.
    fn check(&self, chain: &str, anchors: &str, key: &TlsKey) -> Result<CertificateInfo, CertificateError> {
        let now = self.clock.now();
        let begins = CertificateInfo::from_pem(chain)?.not_before;
        let at = if now < begins && begins.duration_since(now) <= TOLERATED { begins } else { now };
        check_issued(chain, anchors, key, &self.name, at)
    }

    /// With what is known of the clocks, where that may be the cause.
    fn explained(&self, error: NodemanError) -> NodemanError {
        let Some(skew) = self.skew.words() else { return error };
        match error {
            NodemanError::Refused { status, detail, refusal: refusal @ Refusal::BadRequest } => {
                NodemanError::Refused { status, detail: format!("{detail} ({skew})"), refusal }
            }
            NodemanError::Nonsense(what) => NodemanError::Nonsense(format!("{what} ({skew})")),
            other => other,
        }
    }

    fn checked(&self, configuration: Configuration) -> Result<Configuration, NodemanError> {
        if configuration.name != self.name.as_str() {
            return Err(NodemanError::Nonsense(format!("answer is for node {:?}", printable(&configuration.name))));
        }
        let scheme = configuration.mqtt_broker.split_once("://").map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| BROKER_SCHEMES.contains(&scheme)) {
            return Err(NodemanError::Nonsense("mqtt_broker is not an MQTT URL".to_owned()));
        }
        TrustedKeys::from_value(&configuration.trusted_jwks)
            .map_err(|error| NodemanError::Nonsense(format!("trusted_jwks: {}", printable(&error.to_string()))))?;
        Ok(configuration)
    }
}
