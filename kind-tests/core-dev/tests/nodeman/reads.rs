//! What nodes and others may read, and the interface of the administrator.

use crate::common::*;
use serde_json::{Value, json};

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
fn a_missing_accept_is_complained_of_before_the_node_is_looked_for() {
    let fixture = fixture();
    let ask = |accept: Option<&str>| {
        let plain = request("GET", "/api/v1/node/ghost.test.dnstapir.se/public_key", "");
        fixture.nodeman.answer(&accept.map_or(plain.clone(), |accept| with_header(plain.clone(), "accept", accept)))
    };
    check(&ask(None), 422, r#"{"detail":[{"type":"missing","loc":["header","accept"],"msg":"Field required","input":null}]}"#);
    for accept in ["*/*", "application/x-pem-file", "text/html"] {
        check_detail(&ask(Some(accept)), 404, "Not Found");
    }
}

#[test]
fn other_methods_are_refused_everywhere() {
    let fixture = fixture();
    Edge::create(&fixture, NODE).enrol(&fixture);
    let of_node = |what: &str| format!("/api/v1/node/{NODE}{what}");
    for (target, allowed) in [
        ("/api/v1/healthcheck".to_owned(), "GET"),
        ("/api/v1/node".to_owned(), "POST"),
        ("/api/v1/nodes".to_owned(), "GET"),
        (of_node(""), "GET, DELETE"),
        (of_node("/enroll"), "POST"),
        (of_node("/renew"), "POST"),
        (of_node("/configuration"), "GET"),
        (of_node("/certificate"), "GET"),
        (of_node("/public_key"), "GET"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|method| !allowed.contains(method)) {
            // With the administrator's password, so that its lack is not what is refused.
            let answer = fixture.nodeman.answer(&administrator(method, &target, ""));
            check_detail(&answer, 405, "Method Not Allowed");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
        }
    }
    assert!(fixture.nodeman.nodes().get(NODE).is_some());
}

#[test]
fn malformed_credentials_of_an_administrator() {
    let fixture = fixture();
    let encode = |text: &[u8]| tapir_core_dev::encoding::base64(text);
    let good = encode(b"admin:secret");
    let headers = [
        String::new(),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic ???".to_owned(),
        format!("Basic {}", encode(b"no colon")),
        format!("Basic {}", encode(b"\xff\xfe:secret")),
        format!("Basic {good} {good}"),
        format!("Bearer {good}"),
        good.clone(),
        format!("Basic {}", encode(b"admin:secret:more")),
    ];
    for header in &headers {
        for (method, target) in
            [("GET", "/api/v1/nodes"), ("POST", "/api/v1/node"), ("GET", "/api/v1/node/x"), ("DELETE", "/api/v1/node/x")]
        {
            let answer = fixture.nodeman.answer(&with_header(request(method, target, ""), "authorization", header));
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic")), "{method} {target} {header:?}");
        }
    }
    assert_eq!(fixture.nodeman.nodes().iter().count(), 0);
    let answer =
        fixture.nodeman.answer(&with_header(request("GET", "/api/v1/nodes", ""), "authorization", &format!("basic {good}")));
    assert_eq!(answer.status, 200, "the scheme's case does not count");
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

    check_detail(&answer(administrator("GET", "/api/v1/node/ghost.test.dnstapir.se", "")), 404, "Not Found");
    check_detail(&answer(administrator("GET", "/api/v1/node/bad_name.example", "")), 400, "Invalid node name");
    check_detail(&answer(administrator("DELETE", "/api/v1/node/bad_name.example", "")), 400, "Invalid node name");

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
