//! Every refusal of nodeman that a client can provoke, provoked; where the real service's answer was recorded, held against it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tapir_core_dev::encoding::base64url;
use tapir_core_dev::message::Answer;

/// Compares with the recorded refusal of that name.
fn check_recorded(case: &str, answer: &Answer) {
    let recorded = vector_json("errors/nodeman.json");
    let expected = recorded
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["case"] == case)
        .unwrap_or_else(|| panic!("no such case: {case}"))
        .clone();
    assert_eq!(u64::from(answer.status), expected["status"].as_u64().unwrap(), "{case}: {}", answer.text());
    assert_eq!(answer.header("content-type"), expected["content_type"].as_str(), "{case}");
    assert_eq!(answer.text(), expected["body"], "{case}");
}

#[test]
fn recorded_refusals_are_given_byte_for_byte_and_none_burns_the_enrolment_key() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let stranger = Signer::generate();
    let payload = edge.payload(now());
    let text = payload.to_string();
    let enrol = |payload: &Value| fixture.nodeman.answer(&edge.enrolment_request(payload));
    let changed = |member: &str, value: Value| {
        let mut payload = payload.clone();
        payload[member] = value;
        payload
    };
    let mut provoked = Vec::new();
    let mut check = |case: &'static str, answer: &Answer| {
        check_recorded(case, answer);
        provoked.push(case);
    };
    check(
        "enrol: no such node",
        &fixture.nodeman.answer(&request("POST", "/api/v1/node/ghost.test.dnstapir.se/enroll", text.as_str())),
    );
    check(
        "enrol: name with illegal characters",
        &fixture.nodeman.answer(&request("POST", "/api/v1/node/bad_name.example/enroll", text.as_str())),
    );
    check("enrol: body is no JWS", &fixture.nodeman.answer(&edge.enrolment_with("hello")));
    check(
        "enrol: wrong enrolment key",
        &fixture
            .nodeman
            .answer(&edge.enrolment_with(general(text.as_bytes(), &[stranger.usual(&payload), edge.data.usual(&payload)]))),
    );
    check(
        "enrol: data key signature missing",
        &fixture.nodeman.answer(&edge.enrolment_with(general(text.as_bytes(), &[edge.enrolment.usual(&payload)]))),
    );
    check(
        "enrol: timestamp 301 s old",
        &enrol(&changed("timestamp", json!((now() - SignedDuration::from_secs(301)).to_string()))),
    );
    check(
        "enrol: public_key.kid is another name",
        &enrol(&changed("public_key", edge.data.public_jwk("other.test.dnstapir.se"))),
    );
    check("enrol: CSR is no PEM", &enrol(&changed("x509_csr", json!("no PEM"))));
    check("enrol: CSR for another name", &enrol(&changed("x509_csr", json!(csr("other.test.dnstapir.se")))));
    check("enrol: lifetime over the CA's maximum", &enrol(&changed("x509_lifetime", json!(7_776_001))));
    check("renew: node not enrolled yet", &fixture.nodeman.answer(&edge.renewal_request(&payload)));

    assert_eq!(enrol(&payload).status, 200, "failed attempts must not have burnt the key");
    check("enrol: second time", &enrol(&payload));
    check(
        "renew: wrong key",
        &fixture.nodeman.answer(&edge.renewal_with(stranger.flattened(&json!({"alg": "EdDSA"}), text.as_bytes()))),
    );
    assert_eq!(fixture.nodeman.answer(&administrator("DELETE", &format!("/api/v1/node/{NODE}"), "")).status, 204);
    check("renew: node deleted", &fixture.nodeman.answer(&edge.renewal_request(&payload)));
    let recorded = vector_json("errors/nodeman.json");
    assert_eq!(provoked.len(), recorded.as_array().unwrap().len(), "every recorded refusal is provoked");
}

#[test]
fn signatures_must_be_by_the_keys_with_the_algorithm_of_the_key_and_without_unknown_extensions() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let payload = edge.payload(now()).to_string();
    let enrol = |enrolment: Value, data: Value| {
        fixture.nodeman.answer(&edge.enrolment_with(general(payload.as_bytes(), &[enrolment, data])))
    };
    let good = json!({"alg": "EdDSA"});
    for bad in [
        json!({}),
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": 5}),
        json!({"alg": "EdDSA", "crit": ["exp"], "exp": 1}),
        json!({"alg": "EdDSA", "crit": []}),
    ] {
        let answer = enrol(edge.enrolment.signature(&bad, payload.as_bytes()), edge.data.signature(&good, payload.as_bytes()));
        check_detail(&answer, 401, "Invalid enrollment signature");
        let answer = enrol(edge.enrolment.signature(&good, payload.as_bytes()), edge.data.signature(&bad, payload.as_bytes()));
        check_detail(&answer, 401, "Invalid data signature");
    }
    // The data key alone, flattened.
    check_detail(
        &fixture.nodeman.answer(&edge.enrolment_with(edge.data.flattened(&good, payload.as_bytes()))),
        401,
        "Invalid enrollment signature",
    );
    // A signature over another payload.
    let other = edge.payload(now()).to_string();
    check_detail(
        &enrol(edge.enrolment.signature(&good, other.as_bytes()), edge.data.signature(&good, payload.as_bytes())),
        401,
        "Invalid enrollment signature",
    );
    // Names of keys in headers are ignored, the newer name of the algorithm is taken, the order is free.
    let named = json!({"alg": "Ed25519", "kid": "whatever"});
    assert_eq!(
        enrol(edge.data.signature(&named, payload.as_bytes()), edge.enrolment.signature(&named, payload.as_bytes())).status,
        200
    );
}

#[test]
fn an_hmac_with_a_public_key_as_secret_is_no_signature() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    let payload = json!({"timestamp": NOW, "x509_csr": csr(NODE)}).to_string();
    let forger =
        Signer::Hs256(tapir_core_dev::encoding::from_base64url(edge.data.public_jwk(NODE)["x"].as_str().unwrap()).unwrap());
    check_detail(
        &fixture.nodeman.answer(&edge.renewal_with(forger.flattened(&json!({"alg": "HS256"}), payload.as_bytes()))),
        401,
        "Invalid data signature",
    );
}

#[test]
fn malformed_payloads_are_bad_requests_for_enrolment_and_renewal() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let whole = edge.payload(now());
    let without = |member: &str| {
        let mut payload = whole.clone();
        payload.as_object_mut().unwrap().remove(member);
        payload
    };
    let with = |member: &str, value: Value| {
        let mut payload = whole.clone();
        payload[member] = value;
        payload
    };
    let both = [
        without("timestamp"),
        without("x509_csr"),
        with("timestamp", json!("2026-11-21T00:24:14")),
        with("timestamp", json!("2026-11-21T00:19:13Z")),
        with("x509_lifetime", json!(0)),
        with("x509_lifetime", json!("long")),
        with("x509_csr", json!(null)),
        json!([]),
    ];
    for payload in &both {
        check_detail(&fixture.nodeman.answer(&edge.enrolment_request(payload)), 400, "Bad Request");
    }
    for key in [
        json!(null),
        json!({}),
        json!({"kty": "oct", "k": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519"}),
    ] {
        check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&with("public_key", key))), 400, "Bad Request");
    }
    check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&without("public_key"))), 400, "Bad Request");
    edge.enrol(&fixture);
    for payload in &both {
        check_detail(&fixture.nodeman.answer(&edge.renewal_request(payload)), 400, "Bad Request");
    }
    // 300 s old and a day ahead are fine.
    for timestamp in ["2026-11-21T00:19:14Z", "2026-11-22T00:24:14Z"] {
        let payload = json!({"timestamp": timestamp, "x509_csr": csr(NODE)});
        assert_eq!(fixture.nodeman.answer(&edge.renewal_request(&payload)).status, 200, "{timestamp}");
    }
}

#[test]
fn renewal_refuses_bodies_csrs_and_lifetimes_as_enrolment_does() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    let renew = |payload: Value| fixture.nodeman.answer(&edge.renewal_request(&payload));
    for body in ["", "hello", "{}", "a.b.c"] {
        let answer = fixture.nodeman.answer(&edge.renewal_with(body));
        check(&answer, 500, "Internal Server Error");
        assert!(answer.closes && answer.header("x-request-id").is_none());
    }
    check_detail(&renew(json!({"timestamp": NOW, "x509_csr": ""})), 400, "Invalid CSR");
    check_detail(&renew(json!({"timestamp": NOW, "x509_csr": csr("other.test.dnstapir.se")})), 500, "Error issuing certificate");
    check_detail(
        &renew(json!({"timestamp": NOW, "x509_csr": csr(NODE), "x509_lifetime": 59})),
        400,
        "Certificate request refused",
    );
}

#[test]
fn every_flaw_of_a_csr_is_answered_as_a_failure_of_the_ca() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    let request = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::new(vec![NODE.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, NODE);
        change(&mut params);
        params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let dns = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
    let flaws: [&dyn Fn(&mut rcgen::CertificateParams); 8] = [
        &|params| params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example"),
        &|params| params.distinguished_name = rcgen::DistinguishedName::new(),
        &|params| params.distinguished_name.push(rcgen::DnType::CommonName, "other.test.dnstapir.se"),
        &|params| params.subject_alt_names.clear(),
        &|params| params.subject_alt_names.push(dns("other.test.dnstapir.se")),
        &|params| params.key_usages.push(rcgen::KeyUsagePurpose::DigitalSignature),
        &|params| params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth),
        &|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
    ];
    let renew = |csr: &str| fixture.nodeman.answer(&edge.renewal_request(&json!({"timestamp": NOW, "x509_csr": csr})));
    for flaw in flaws {
        check_detail(&renew(&request(flaw).pem().unwrap()), 500, "Error issuing certificate");
    }
    let mut der = request(&|_| {}).der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    check_detail(&renew(&tapir_core_dev::encoding::pem("CERTIFICATE REQUEST", &der)), 500, "Error issuing certificate");
    check_detail(&renew(&tapir_core_dev::encoding::pem("CERTIFICATE REQUEST", b"no DER")), 400, "Invalid CSR");
    assert_eq!(renew(&request(&|_| {}).pem().unwrap()).status, 200);
}

#[test]
fn reads_of_unknown_unenrolled_and_deleted_nodes() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    check_detail(&edge.get(&fixture, "configuration"), 400, "Node not activated");
    check_detail(&edge.get(&fixture, "certificate"), 404, "Not Found");
    let public_key = |accept: &str| {
        fixture.nodeman.answer(&with_header(request("GET", &format!("/api/v1/node/{NODE}/public_key"), ""), "accept", accept))
    };
    check(&public_key("*/*"), 200, &format!(r#"{{"kid": "{NODE}", "tags": []}}"#));
    check(&public_key("application/x-pem-file"), 500, "Internal Server Error");
    edge.enrol(&fixture);
    assert_eq!(edge.get(&fixture, "configuration").status, 200);
    assert_eq!(edge.get(&fixture, "certificate").status, 200);
    check(
        &edge.get(&fixture, "public_key"),
        422,
        r#"{"detail":[{"type":"missing","loc":["header","accept"],"msg":"Field required","input":null}]}"#,
    );
    assert_eq!(public_key("text/html").status, 406);
    assert_eq!(public_key("application/jwk+json").header("content-type"), Some("application/jwk+json"));
    assert_eq!(public_key("application/json").header("content-type"), Some("application/jwk+json"));
    let tagged = |tags: &str| {
        fixture
            .nodeman
            .answer(&with_header(request("GET", &format!("/api/v1/node/{NODE}/public_key?tags={tags}"), ""), "accept", "*/*"))
            .status
    };
    assert_eq!(tagged("se"), 404);
    assert_eq!(fixture.nodeman.answer(&administrator("DELETE", &format!("/api/v1/node/{NODE}"), "")).status, 204);
    for what in ["configuration", "certificate"] {
        check_detail(&edge.get(&fixture, what), 404, "Not Found");
    }
    check_detail(&public_key("*/*"), 404, "Not Found");
    check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&edge.payload(now()))), 404, "Not Found");
}

#[test]
fn names_are_compared_byte_for_byte() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let payload = edge.payload(now());
    for name in ["Err-edge.test.dnstapir.se", "err-edge.test.dnstapir.se."] {
        let mut request = edge.enrolment_request(&payload);
        request.target = format!("/api/v1/node/{name}/enroll");
        check_detail(&fixture.nodeman.answer(&request), 404, "Not Found");
    }
    for name in ["a..b", "-a.example", "%C3%A4.example", "a%20b", "a%2"] {
        check_detail(
            &fixture.nodeman.answer(&request("GET", &format!("/api/v1/node/{name}/configuration"), "")),
            400,
            "Invalid node name",
        );
    }
    assert_eq!(fixture.nodeman.answer(&edge.enrolment_request(&payload)).status, 200);
}

#[test]
fn a_node_without_enrolment_key_cannot_enrol() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    fixture.nodeman.nodes().get_mut(NODE).unwrap().enrolment_key = None;
    check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&edge.payload(now()))), 400, "Node enrollment failed");
}

#[test]
fn the_enrolment_key_is_deleted_by_success() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    assert!(fixture.nodeman.nodes().get(NODE).unwrap().enrolment_key.is_none());
}

#[test]
fn a_key_without_kid_enrols_and_alg_is_served_only_if_sent() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let mut payload = edge.payload(now());
    let members = payload["public_key"].as_object_mut().unwrap();
    members.remove("kid");
    members.remove("alg");
    members.insert("use".into(), json!("sig"));
    members.insert("d".into(), json!("leaked"));
    assert_eq!(fixture.nodeman.answer(&edge.enrolment_request(&payload)).status, 200);
    let served =
        fixture.nodeman.answer(&with_header(request("GET", &format!("/api/v1/node/{NODE}/public_key"), ""), "accept", "*/*"));
    let x = &edge.data.public_jwk(NODE)["x"];
    check(&served, 200, &format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": {x}, "kid": "{NODE}", "tags": []}}"#));
}

#[test]
fn renewal_works_after_expiry_repeatedly_and_in_every_serialisation() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let first = edge.enrol(&fixture);
    fixture.clock.set(now() + SignedDuration::from_hours(24 * 400));
    let payload = json!({"timestamp": fixture.clock.now().to_string(), "x509_csr": csr(NODE)});
    let text = payload.to_string();
    let signature = edge.data.usual(&payload);
    let compact = format!(
        "{}.{}.{}",
        signature["protected"].as_str().unwrap(),
        base64url(text.as_bytes()),
        signature["signature"].as_str().unwrap()
    );
    let mut serials = vec![first["x509_certificate_serial_number"].clone()];
    for body in [
        compact.clone().into_bytes(),
        compact.into_bytes(),
        general(text.as_bytes(), &[signature]),
        edge.data.flattened(&json!({"alg": "EdDSA"}), text.as_bytes()),
    ] {
        let answer = fixture.nodeman.answer(&edge.renewal_with(body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 4, "nothing but the certificate");
        assert!(!serials.contains(&body["x509_certificate_serial_number"]));
        serials.push(body["x509_certificate_serial_number"].clone());
    }
}

#[test]
fn trusted_keys_come_in_changing_order_and_can_lack_members() {
    let fixture = fixture_with(|settings| settings.trusted_keys_without = vec!["alg".into(), "kid".into()]);
    let edge = Edge::create(&fixture, NODE);
    let keys = edge.enrol(&fixture)["trusted_jwks"]["keys"].as_array().unwrap().clone();
    assert!(
        keys.iter()
            .all(|key| key.get("alg").is_none() && key.get("kid").is_none() && key.get("x").is_some() && key.get("d").is_none())
    );
    let first = |_| {
        let answer: Value = serde_json::from_slice(&edge.get(&fixture, "configuration").body).unwrap();
        answer["trusted_jwks"]["keys"][0]["crv"].as_str().unwrap().to_owned()
    };
    let orders: std::collections::BTreeSet<String> = (0..64).map(first).collect();
    assert_eq!(orders.len(), 2, "in 64 answers both orders occur");
}

#[test]
fn unset_urls_are_left_out() {
    let fixture = fixture_with(|settings| (settings.nodeman_url, settings.aggrec_url) = (None, None));
    let edge = Edge::create(&fixture, NODE);
    let answer = edge.enrol(&fixture);
    assert!(answer.get("nodeman_url").is_none() && answer.get("aggrec_url").is_none());
}

#[test]
fn administrator_api() {
    let fixture = fixture();
    let answer = |request| fixture.nodeman.answer(&request);
    let unauthorised = answer(request("GET", "/api/v1/nodes", ""));
    assert_eq!((unauthorised.status, unauthorised.header("www-authenticate")), (401, Some("Basic")));
    let basic = |credentials: &str| {
        answer(with_header(
            request("GET", "/api/v1/nodes", ""),
            "authorization",
            &format!("Basic {}", tapir_core_dev::encoding::base64(credentials.as_bytes())),
        ))
    };
    assert_eq!(basic("admin:wrong").status, 401);
    assert_eq!(basic("other:secret").status, 401);
    check_detail(&basic("Admin:secret"), 400, "Invalid username");
    check(&basic("admin:secret"), 200, r#"{"nodes":[]}"#);

    let create = |body: &str| answer(administrator("POST", "/api/v1/node", body));
    for name in
        ["a.example", "test.dnstapir.se", ".test.dnstapir.se", "a_b.test.dnstapir.se", "xtest.dnstapir.se", "a.TEST.dnstapir.se"]
    {
        check_detail(&create(&json!({"name": name}).to_string()), 400, "Invalid node name");
    }
    for body in ["{", r#"{"name":5}"#, r#"{"tags":["ä"]}"#, r#"{"tags":[""]}"#, r#"{"tags":"a"}"#] {
        assert_eq!(create(body).status, 422, "{body}");
    }
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    assert_eq!(create(&json!({"tags": many}).to_string()).status, 422);
    assert_eq!(create(&json!({"tags": ["a".repeat(101)]}).to_string()).status, 422);

    let made = create(r#"{"name":"a.test.dnstapir.se","tags":["test","se","se"]}"#);
    assert_eq!((made.status, made.header("location")), (201, Some("/api/v1/node/a.test.dnstapir.se")));
    check(&create(r#"{"name":"a.test.dnstapir.se"}"#), 500, "Internal Server Error");
    check(
        &answer(administrator("GET", "/api/v1/node/a.test.dnstapir.se", "")),
        200,
        r#"{"name":"a.test.dnstapir.se","public_key":null,"activated":null,"tags":["se","test"]}"#,
    );
    check(
        &answer(administrator("GET", "/api/v1/nodes?tags=se", "")),
        200,
        r#"{"nodes":[{"name":"a.test.dnstapir.se","tags":["se","test"]}]}"#,
    );
    check(&answer(administrator("GET", "/api/v1/nodes?tags=no", "")), 200, r#"{"nodes":[]}"#);
    check(&answer(administrator("DELETE", "/api/v1/node/a.test.dnstapir.se", "")), 204, "");
    check_detail(&answer(administrator("DELETE", "/api/v1/node/a.test.dnstapir.se", "")), 404, "Not Found");
    check(&create(r#"{"name":"a.test.dnstapir.se"}"#), 500, "Internal Server Error");

    let nameless: Value = serde_json::from_slice(&create("").body).unwrap();
    assert!(nameless["name"].as_str().unwrap().ends_with(".test.dnstapir.se"), "{nameless}");
    assert_eq!(answer(administrator("PUT", "/api/v1/node/a.test.dnstapir.se", "")).status, 405);
}

#[test]
fn nodes_are_found_by_the_thumbprint_of_their_data_key() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    Edge::create(&fixture, "other.test.dnstapir.se").enrol(&fixture);
    let thumbprint = fixture.nodeman.nodes().get(NODE).unwrap().public_key.as_ref().unwrap().thumbprint();
    let listed = fixture.nodeman.answer(&administrator("GET", &format!("/api/v1/nodes?thumbprint={thumbprint}"), ""));
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(listed["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(listed["nodes"][0]["name"], NODE);
}

#[test]
fn health_and_headers() {
    let fixture = fixture();
    Edge::create(&fixture, NODE).enrol(&fixture);
    let health = |peer: &str| {
        let request = tapir_core_dev::message::Request { peer: peer.parse().ok(), ..request("GET", "/api/v1/healthcheck", "") };
        fixture.nodeman.answer(&request)
    };
    check_detail(&health("192.0.2.1"), 403, "Forbidden");
    check_detail(&health(""), 403, "Forbidden");
    let answer = health("127.0.0.1");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["status"], &body["node_count"], &body["cert_count"]), (&json!("OK"), &json!(1), &json!(1)));
    assert_eq!(body["ca_fingerprint"].as_str().unwrap().len(), 64);
    assert!(answer.header("server").unwrap().starts_with("dnstapir-nodeman/"));
    assert_eq!(answer.header("x-request-id").unwrap().len(), 36);
    check_detail(&fixture.nodeman.answer(&request("GET", "/elsewhere", "")), 404, "Not Found");
}
