//! The services as they meet the network: TLS, faults, the record, and what the product's own code makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
mod running;

use jiff::Timestamp;
use running::*;
use serde_json::{Value, json};
use tapir_core_dev::encoding::{base64, from_base64};
use tapir_core_dev::server::{Handler, Listener, Service};
use tapir_wire::certificate::TlsKey;
use tapir_wire::enrolment::{Configuration, RenewalAnswer, endpoint, enrolment_request, renewal_request};
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::node_name::NodeName;

const NAME: &str = "a.edge.tapir.test";

#[tokio::test]
async fn the_products_requests_enrol_renew_and_read() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    assert_eq!(edge.answer.configuration.name, NAME);
    assert_eq!(TrustedKeys::from_value(&edge.answer.configuration.trusted_jwks).unwrap().len(), 2);
    let new_key = TlsKey::generate().unwrap();
    let body = renewal_request(&edge.data_key, &new_key.csr(&edge.name).unwrap(), Timestamp::now(), None);
    let answer =
        running.client(None).post(endpoint(&running.nodeman("/"), &edge.name, "renew").unwrap()).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: RenewalAnswer = answer.json().await.unwrap();
    tapir_wire::certificate::check_issued(
        &answer.x509_certificate,
        &answer.x509_ca_certificate.unwrap(),
        &new_key,
        &edge.name,
        Timestamp::now(),
    )
    .unwrap();
    let served = running
        .client(None)
        .get(running.nodeman(&format!("/api/v1/node/{NAME}/public_key")))
        .header("accept", "application/json")
        .send()
        .await
        .unwrap();
    let served: Value = served.json().await.unwrap();
    assert_eq!((&served["alg"], &served["x"]), (&json!("EdDSA"), &edge.data_key.public_jwk()["x"]));
}

#[tokio::test]
async fn symmetric_enrolment_keys_and_lifetimes_of_the_products_requests() {
    let running = Running::start(&[
        "--enrolment-keys",
        "hs256",
        "--certificate-lifetime-minimum",
        "60",
        "--certificate-lifetime-maximum",
        "7776000",
    ])
    .await;
    let edge = running.enrol(NAME).await;
    let body = renewal_request(&edge.data_key, &edge.tls_key.csr(&edge.name).unwrap(), Timestamp::now(), Some(3600));
    let answer =
        running.client(None).post(endpoint(&running.nodeman("/"), &edge.name, "renew").unwrap()).body(body).send().await.unwrap();
    let answer: RenewalAnswer = answer.json().await.unwrap();
    let left = answer.x509_certificate_not_valid_after.unwrap().duration_since(Timestamp::now()).as_secs();
    assert!((3500..=3600).contains(&left), "{left}");
}

#[tokio::test]
async fn a_lost_answer_is_recovered_by_renewal_and_configuration() {
    let running = Running::start(&[]).await;
    let credentials = running.create_node(NAME).await;
    let name = NodeName::parse(NAME).unwrap();
    let data_key = DataKey::generate(&name).unwrap();
    let tls_key = TlsKey::generate().unwrap();
    let csr = tls_key.csr(&name).unwrap();
    let body = enrolment_request(&credentials, &data_key, &csr, Timestamp::now(), None).unwrap();
    let post = |action: &str, body: String| {
        running.client(None).post(endpoint(&running.nodeman("/"), &name, action).unwrap()).body(body).send()
    };
    running.fault("lose-answer").await;
    assert!(post("enroll", body.clone()).await.is_err(), "the answer is lost");
    running.fault("none").await;
    let again = post("enroll", body).await.unwrap();
    assert_eq!((again.status().as_u16(), again.text().await.unwrap().as_str()), (400, r#"{"detail":"Node already enrolled"}"#));
    assert_eq!(post("renew", renewal_request(&data_key, &csr, Timestamp::now(), None)).await.unwrap().status(), 200);
    let configuration =
        running.client(None).get(endpoint(&running.nodeman("/"), &name, "configuration").unwrap()).send().await.unwrap();
    assert_eq!(configuration.headers()["cache-control"], "public, max-age=300");
    let configuration: Configuration = configuration.json().await.unwrap();
    assert_eq!(configuration.name, NAME);
    // The lost one is in the record, without a status.
    let lost = running.recorded(|entry| entry["fault"] == "lose-answer").await;
    assert_eq!(lost["status"], Value::Null);
}

#[tokio::test]
async fn offline_refuses_connections_and_keeps_the_state() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let read = || running.client(None).get(endpoint(&running.nodeman("/"), &edge.name, "configuration").unwrap()).send();
    running.fault("offline").await;
    // The port closes as soon as the listener notices.
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        match tokio::net::TcpStream::connect(running.core.nodeman).await {
            Err(error) => break assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
            Ok(_) => assert!(std::time::Instant::now() < end),
        }
    }
    assert!(read().await.is_err());
    running.fault("none").await;
    let end = std::time::Instant::now() + PATIENCE;
    while read().await.is_err() {
        assert!(std::time::Instant::now() < end);
    }
    assert_eq!(read().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_open_connection_is_cut_when_core_goes_offline() {
    let running = Running::start(&[]).await;
    let request =
        async { running.raw(running.core.nodeman, None, "GET /api/v1/healthcheck HTTP/1.1\r\nhost: localhost\r\n\r\n").await };
    let cut = async {
        running.recorded(|entry| entry["target"] == "/api/v1/healthcheck").await;
        running.fault("offline").await;
    };
    let (answer, ()) = tokio::join!(request, cut);
    assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn nonsense_refusal_and_silence() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let renew = || running.client(None).post(endpoint(&running.nodeman("/"), &edge.name, "renew").unwrap()).body("x").send();
    running.fault("nonsense").await;
    let answer = renew().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, "text/html"));
    running.fault("refuse").await;
    let answer = renew().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
        (401, r#"{"detail":"Invalid data signature"}"#)
    );
    // The administrator is not disturbed.
    running.create_node("b.edge.tapir.test").await;
    running.fault("unreachable").await;
    let mut silent = Box::pin(renew());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), &mut silent).await.is_err(), "no answer, no refusal");
    running.fault("none").await;
    assert!(silent.await.is_err(), "the silent connection ends unanswered");
    assert_eq!(renew().await.unwrap().status(), 500);
}

#[tokio::test]
async fn a_server_failure_closes_the_connection_without_announcing_it() {
    let running = Running::start(&[]).await;
    running.enrol(NAME).await;
    let text = format!("POST /api/v1/node/{NAME}/renew HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello");
    let answer = running.raw(running.core.nodeman, None, &text).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert!(!head.to_ascii_lowercase().contains("connection:"), "{head}");
    assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
    assert_eq!(body, "Internal Server Error");
}

#[tokio::test]
async fn aggrec_wants_a_certificate_of_the_node_ca() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let key = edge.tls_key.pem();
    let get = |identity: Option<(&str, &str)>| running.client(identity).get(running.aggrec("/api/v1/healthcheck")).send();
    assert_eq!(get(Some((edge.chain(), &key))).await.unwrap().status(), 200);
    assert!(get(None).await.is_err(), "no certificate");
    assert!(get(Some((&running.pki.web_certificate, &running.pki.web_key))).await.is_err(), "a certificate of another CA");
    let recorded = running.recorded(|entry| entry["service"] == "aggrec").await;
    assert_eq!(recorded["client"], NAME);
}

#[tokio::test]
async fn aggrec_refuses_a_node_certificate_past_its_end() {
    let running = Running::start(&[]).await;
    let hours_ago = |hours| Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    let get = |made| {
        let (chain, key) = running.certificate(NAME, made);
        running.client(Some((&chain, &key))).get(running.aggrec("/api/v1/healthcheck")).send()
    };
    assert_eq!(get(Timestamp::now()).await.unwrap().status(), 200);
    let error = get(hours_ago(2)).await.unwrap_err();
    assert!(format!("{error:?}").contains("CertificateExpired"), "{error:?}");
}

#[tokio::test]
async fn health_and_statistics_are_refused_outside_the_allowed_networks() {
    let running = Running::start(&["--allowed-networks", "192.0.2.0/24"]).await;
    let edge = running.enrol(NAME).await;
    let key = edge.tls_key.pem();
    let client = running.client(Some((edge.chain(), &key)));
    for url in
        [running.nodeman("/api/v1/healthcheck"), running.aggrec("/api/v1/healthcheck"), running.aggrec("/api/v1/stats/creators")]
    {
        assert_eq!(client.get(&url).send().await.unwrap().status(), 403, "{url}");
    }
}

#[tokio::test]
async fn chunked_aggregates_are_refused() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let key = edge.tls_key.pem();
    let text = "POST /api/v1/aggregate/histogram HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\ncontent-type: application/binary\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let answer = running.raw(running.core.aggrec, Some((edge.chain(), &key)), text).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 422 ") && answer.contains(r#"["header","content-length"]"#), "{answer}");
}

#[tokio::test]
async fn older_tls_is_refused() {
    let running = Running::start(&[]).await;
    let edge = running.enrol(NAME).await;
    let key = edge.tls_key.pem();
    for (address, identity) in [(running.nodeman("/"), None), (running.aggrec("/"), Some((edge.chain(), key.as_str())))] {
        let config = running.older_tls(&running.pki.web_ca_certificate, identity);
        let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap();
        let error = client.get(address).send().await.unwrap_err();
        assert!(format!("{error:?}").contains("ProtocolVersion"), "{error:?}");
    }
}

#[tokio::test]
async fn every_byte_of_a_request_is_in_the_record() {
    let running = Running::start(&[]).await;
    let body: Vec<u8> = (0..=255).collect();
    let octets: Vec<u8> = (128..=255).collect();
    running
        .client(None)
        .post(running.nodeman("/api/v1/node/x/enroll?a=%20b"))
        .header("x-odd", "v1")
        .header("x-octets", reqwest::header::HeaderValue::from_bytes(&octets).unwrap())
        .body(body.clone())
        .send()
        .await
        .unwrap();
    let entry = running.recorded(|entry| entry["method"] == "POST").await;
    assert_eq!(
        (&entry["kind"], &entry["service"], &entry["target"], &entry["status"]),
        (&json!("http"), &json!("nodeman"), &json!("/api/v1/node/x/enroll?a=%20b"), &json!(404))
    );
    assert!(entry["headers"].as_array().unwrap().contains(&json!(["x-odd", "v1"])));
    let recorded: String = octets.into_iter().map(char::from).collect();
    assert!(entry["headers"].as_array().unwrap().contains(&json!(["x-octets", recorded])), "{entry}");
    assert_eq!(from_base64(entry["body"].as_str().unwrap()).unwrap(), body);
    assert_eq!(entry["text"], Value::Null, "no text where there is none");
    assert_eq!(base64(&body), entry["body"].as_str().unwrap());
}

#[tokio::test]
async fn the_control_interface_says_no_to_mistakes() {
    let running = Running::start(&[]).await;
    let url = |path: &str| format!("http://{}{path}", running.core.control);
    let client = running.client(None);
    assert_eq!(client.post(url("/faults")).body("odd").send().await.unwrap().status(), 400);
    assert_eq!(client.get(url("/observe")).send().await.unwrap().status(), 405);
    assert_eq!(client.get(url("/other")).send().await.unwrap().status(), 404);
    assert_eq!(running.observe(json!({"name": "x.example", "ttl": 5, "tag_mask": 1})).await, 503, "no broker");
    assert_eq!(running.observe(json!({"msg_type": "observation"})).await, 400);
    let health: Value = client.get(url("/healthz")).send().await.unwrap().json().await.unwrap();
    assert_eq!(health, json!({"status": "OK", "fault": "none", "bridge_subscribed": false}));
}

#[tokio::test]
async fn bodies_over_the_limit_are_cut_off() {
    let handler: Handler = std::sync::Arc::new(|_| panic!("never reached"));
    let service = Service { name: "test", handler, tls: None, disturbance: None };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), service).await.unwrap();
    let address = listener.address();
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(listener.run(stop.clone()));
    let body = vec![0_u8; 65 * 1024 * 1024];
    assert!(
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap()
            .post(format!("http://{address}/"))
            .body(body)
            .send()
            .await
            .is_err()
    );
    stop.cancel();
    task.await.unwrap();
}
