//! HTTP towards nodeman: bounded in time and size, without redirections.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Url};

use super::error::{NodemanError, from_answer, printable};

/// Time limit of one call, from the first packet to the last octet. Half of the leader's term (see `leader`).
pub const CALL_LIMIT: Duration = Duration::from_secs(12);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Many edges ask the same nodeman every few minutes: a connection that is kept saves it, and us, most of the cost of TLS.
const IDLE_LIMIT: Duration = Duration::from_secs(90);
const IDLE_CONNECTIONS: usize = 4;
/// The largest honest answer is an enrolment result of about 10 KiB.
const BODY_LIMIT: usize = 256 * 1024;

/// How servers are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustAnchors {
    /// The system's CA store.
    #[default]
    System,
    /// These certificates (PEM) and no others.
    Bundle(String),
}

/// An HTTP client for all edges that verify nodeman in the same way.
#[derive(Clone, Debug)]
pub struct Transport {
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// When it was sent, by the other side's clock.
    pub date: Option<Timestamp>,
    /// Its body, unless its status is another than 200.
    pub bytes: Result<Vec<u8>, NodemanError>,
}

impl Transport {
    /// Prepares TLS.
    ///
    /// # Errors
    /// When the trust anchors cannot be used.
    pub fn new(anchors: &TrustAnchors) -> Result<Self, NodemanError> {
        let builder = Client::builder()
            .user_agent(concat!("tapir-operator/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT)
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS);
        let builder = match anchors {
            TrustAnchors::System => builder,
            TrustAnchors::Bundle(pem) => builder.tls_certs_only(certificates(pem)?),
        };
        let client = builder.build().map_err(|error| NodemanError::BadTrustAnchors(chain(&error)))?;
        Ok(Self { client })
    }

    /// One call.
    ///
    /// # Errors
    /// When there is no answer that could be read; by cause, see [`NodemanError`].
    pub async fn call(&self, method: Method, url: &str, body: Option<String>) -> Result<Answer, NodemanError> {
        let url = checked(url)?;
        let mut request = self.client.request(method, url).header("accept", "application/json");
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let mut answer = request.send().await.map_err(|error| unreachable(&error))?;
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(time);
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(NodemanError::Nonsense(format!("an answer of more than {BODY_LIMIT} octets")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let bytes = match answer.status().as_u16() {
            200 => Ok(bytes),
            status => Err(from_answer(status, &bytes)),
        };
        Ok(Answer { date, bytes })
    }
}

/// Time in the form that HTTP prefers (RFC 9110 section 5.6.7), which is one of mail's.
fn time(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp())
}

/// The answer's integrity, and with it all later trust, rests on TLS: plain HTTP is for tests on loopback only.
fn checked(url: &str) -> Result<Url, NodemanError> {
    let url = Url::parse(url).map_err(|error| NodemanError::BadAddress(error.to_string()))?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        Ok(url)
    } else {
        Err(NodemanError::BadAddress(format!("scheme {} instead of https", printable(url.scheme()))))
    }
}

fn certificates(pem: &str) -> Result<Vec<Certificate>, NodemanError> {
    let found = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| NodemanError::BadTrustAnchors(chain(&error)))?;
    if found.is_empty() { Err(NodemanError::BadTrustAnchors("no certificate in the bundle".to_owned())) } else { Ok(found) }
}

fn unreachable(error: &reqwest::Error) -> NodemanError {
    NodemanError::Unreachable(chain(error))
}

/// The innermost cause says what happened ("certificate not trusted", "connection refused"), the outer ones where.
fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        source = inner.source();
    }
    printable(&parts.join(": "))
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn answer(template: ResponseTemplate) -> Result<Vec<u8>, NodemanError> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(template).mount(&server).await;
        let transport = Transport::new(&TrustAnchors::Bundle(some_ca())).unwrap();
        transport.call(Method::GET, &format!("{}/x", server.uri()), None).await?.bytes
    }

    fn some_ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let error = answer(ResponseTemplate::new(200).set_body_bytes(vec![b' '; BODY_LIMIT + 1])).await.unwrap_err();
        assert!(matches!(error, NodemanError::Nonsense(_)), "{error}");
        assert_eq!(answer(ResponseTemplate::new(200).set_body_string("ok")).await.unwrap(), b"ok");
    }

    #[tokio::test]
    async fn redirections_are_not_followed() {
        let elsewhere = MockServer::start().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&elsewhere).await;
        let error = answer(ResponseTemplate::new(307).insert_header("location", elsewhere.uri().as_str())).await.unwrap_err();
        assert!(matches!(error, NodemanError::Nonsense(_)), "{error}");
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let transport = Transport::new(&TrustAnchors::Bundle(some_ca())).unwrap();
        let error =
            transport.call(Method::POST, &format!("http://127.0.0.1:{port}/"), Some("secret".to_owned())).await.unwrap_err();
        assert!(matches!(&error, NodemanError::Unreachable(text) if text.contains("refused")), "{error}");
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(time("Sat, 21 Nov 2026 10:54:59 GMT"), "2026-11-21T10:54:59Z".parse().ok());
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn only_tls_leaves_the_machine() {
        assert!(checked("http://nodeman.example/").is_err());
        assert!(checked("ftp://127.0.0.1/").is_err());
        assert!(checked("https://nodeman.example/").is_ok());
    }

    #[test]
    fn an_empty_bundle_is_refused() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        assert!(matches!(Transport::new(&TrustAnchors::Bundle(String::new())), Err(NodemanError::BadTrustAnchors(_))));
    }
}
