//! What a request must be like, and what becomes of it.

use crate::bench::*;
use crate::common::*;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tapir_core_dev::encoding::base64;
use tapir_core_dev::message::{Answer, Request};

#[test]
fn a_proper_aggregate_is_stored_and_its_repetition_is_the_same_one() {
    let bench = bench();
    let first = bench.aggrec.answer(&bench.signed(|_| {}));
    assert_eq!(first.status, 201, "{}", first.text());
    // Another type and interval, the same bytes: the first one's location.
    let again = bench.aggrec.answer(&bench.signed(|request| {
        request.target = "/api/v1/aggregate/test".into();
        set(request, "aggregate-interval", "");
    }));
    assert_eq!((again.status, again.header("location")), (201, first.header("location")));
    let payload = bench.aggrec.answer(&request("GET", &format!("{}/payload", first.header("location").unwrap()), ""));
    assert_eq!((payload.status, payload.body.as_slice()), (200, BODY));
    check_detail(&bench.aggrec.answer(&request("GET", "/api/v1/aggregates/000000000000000000000000", "")), 404, "Not Found");
}

#[test]
fn every_required_header_is_missed() {
    let bench = bench();
    for name in ["content-type", "content-length", "content-digest", "aggregate-interval", "signature-input", "signature"] {
        let mut request = bench.signed(|_| {});
        request.headers.retain(|(key, _)| key != name);
        let answer = bench.aggrec.answer(&request);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &body["detail"][0]["loc"], &body["detail"][0]["type"]),
            (422, &json!(["header", name]), &json!("missing"))
        );
    }
}

#[test]
fn types_content_types_and_intervals_are_checked() {
    let bench = bench();
    let refused = |change: &dyn Fn(&mut Request)| bench.aggrec.answer(&bench.signed(change));
    let answer = refused(&|request| request.target = "/api/v1/aggregate/other".into());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["detail"][0]["msg"]), (422, &json!("Input should be 'histogram', 'vector' or 'test'")));
    for content_type in ["application/octet-stream", "application/vnd.apache.parquet; charset=binary", ""] {
        assert_eq!(refused(&|request| set(request, "content-type", content_type)).status, 422, "{content_type}");
    }
    assert_eq!(refused(&|request| set(request, "content-type", "application/binary")).status, 201);
    check_detail(
        &refused(&|request| set(request, "aggregate-interval", "yesterday")),
        422,
        "Invalid Aggregate-Interval: yesterday",
    );
    let answer = refused(&|request| set(request, "content-length", "3"));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("Content-Length header"), "{}", answer.text());
}

#[test]
fn malformed_signatures() {
    let bench = bench();
    let unverifiable = |answer: &Answer| check_detail(answer, 400, "Unable to verify HTTP signature");
    for (name, value) in [
        ("signature", "sig1=:not base64:"),
        ("signature", "sig1=\"text\""),
        ("signature", "="),
        ("signature-input", "sig1=("),
        ("signature-input", "sig1=\"x\""),
    ] {
        let mut request = bench.signed(|_| {});
        set(&mut request, name, value);
        unverifiable(&bench.aggrec.answer(&request));
    }
    for key_id in ["a/b", "a b", "ä", ""] {
        unverifiable(&bench.with(&COVERED, &format!(r#";created={};alg="ed25519";keyid="{key_id}""#, now().as_second())));
    }
    unverifiable(&bench.with(&["content-digest", "content-digest"], &usual_parameters()));
    unverifiable(&bench.with(&["content-digest", "x-absent"], &usual_parameters()));
    unverifiable(&bench.with(&COVERED, &usual_parameters().replace(";alg", ";expires=\"soon\";alg")));
}

#[test]
fn unknown_keys() {
    let bench = bench();
    let unknown = |answer: &Answer| check_detail(answer, 401, "Unknown HTTP signature key");
    unknown(&bench.with(&COVERED, &usual_parameters().replace(NODE, "ghost.test.dnstapir.se")));
    unknown(&bench.with(&COVERED, &format!(r#";created={};alg="ed25519""#, now().as_second())));
    // A node that has not enrolled has no key.
    Edge::create(&bench.fixture, "young.test.dnstapir.se");
    unknown(&bench.with(&COVERED, &usual_parameters().replace(NODE, "young.test.dnstapir.se")));
    // A deleted node's key is known until the cache is 300 s old.
    assert_eq!(bench.with(&COVERED, &usual_parameters()).status, 201);
    assert_eq!(bench.fixture.nodeman.answer(&administrator("DELETE", &format!("/api/v1/node/{NODE}"), "")).status, 204);
    bench.fixture.clock.set(now() + SignedDuration::from_secs(299));
    assert_eq!(bench.with(&COVERED, &usual_parameters()).status, 201);
    bench.fixture.clock.set(now() + SignedDuration::from_secs(300));
    unknown(&bench.with(&COVERED, &usual_parameters()));
}

#[test]
fn signatures_that_do_not_verify() {
    let bench = bench();
    let invalid = |answer: &Answer| check_detail(answer, 401, "Invalid HTTP signature");
    let mut stranger = unsigned(BODY);
    sign(&mut stranger, &Signer::generate(), &COVERED, &usual_parameters());
    invalid(&bench.aggrec.answer(&stranger));
    let mut changed = bench.signed(|_| {});
    set(&mut changed, "content-type", "application/binary");
    invalid(&bench.aggrec.answer(&changed));
    let mut reordered = bench.signed(|_| {});
    let input = reordered.header("signature-input").unwrap();
    set(
        &mut reordered,
        "signature-input",
        &input.replace(r#""content-type" "content-length""#, r#""content-length" "content-type""#),
    );
    invalid(&bench.aggrec.answer(&reordered));
    let mut twice = bench.signed(|_| {});
    let (input, signature) = (twice.header("signature-input").unwrap(), twice.header("signature").unwrap());
    set(&mut twice, "signature-input", &format!("{input}, {}", input.replace("sig1", "sig2")));
    set(&mut twice, "signature", &format!("{signature}, {}", signature.replace("sig1", "sig2")));
    invalid(&bench.aggrec.answer(&twice));
    let mut other_label = bench.signed(|_| {});
    let signature = other_label.header("signature").unwrap();
    set(&mut other_label, "signature", &signature.replace("sig1", "sig2"));
    invalid(&bench.aggrec.answer(&other_label));
    invalid(&bench.with(&["@method", "content-digest"], &usual_parameters()));
    invalid(&bench.with(&COVERED, &format!(r#";alg="ed25519";keyid="{NODE}""#)));
}

#[test]
fn created_and_expires_bound_a_signature_in_time() {
    let bench = bench();
    let at =
        |created: i64, more: &str| bench.with(&COVERED, &format!(r#";created={created};alg="ed25519";keyid="{NODE}"{more}"#));
    let now = now().as_second();
    for (created, more) in [(now + 6, ""), (now - 24 * 3600 - 1, "")] {
        check_detail(&at(created, more), 401, "Invalid HTTP signature");
    }
    check_detail(&at(now, &format!(";expires={}", now - 1)), 401, "Invalid HTTP signature");
    for (created, more) in
        [(now + 5, String::new()), (now - 24 * 3600, String::new()), (now, format!(r#";expires={};nonce="n";tag="t""#, now + 10))]
    {
        assert_eq!(at(created, &more).status, 201, "{created}{more}");
    }
}

#[test]
fn a_missing_or_unknown_algorithm_is_a_server_failure() {
    let bench = bench();
    for parameters in [
        format!(r#";created={};keyid="{NODE}""#, now().as_second()),
        usual_parameters().replace("ed25519", "EdDSA"),
        usual_parameters().replace("ed25519", "hmac-sha256"),
    ] {
        let answer = bench.with(&COVERED, &parameters);
        check(&answer, 500, "Internal Server Error");
        assert!(answer.closes);
    }
}

#[test]
fn digests_must_be_covered_known_and_right() {
    let bench = bench();
    check_detail(&bench.with(&["content-type", "content-length"], &usual_parameters()), 401, "Unable to verify Content-Digest");
    let with_digest = |digest: &str| bench.aggrec.answer(&bench.signed(|request| set(request, "content-digest", digest)));
    for unusable in ["md5=:AA==:", "sha-256=\"text\"", "="] {
        check_detail(&with_digest(unusable), 401, "Unable to verify Content-Digest");
    }
    check_detail(&with_digest(&digest(b"other")), 401, "Content-Digest verification failed");
    check_detail(&with_digest(&format!("{}, sha-512=:AA==:", digest(BODY))), 401, "Content-Digest verification failed");
    assert_eq!(with_digest(&format!("sha-512=:{}:", base64(&Sha512::digest(BODY)))).status, 201);
}

#[test]
fn other_methods_and_other_paths() {
    let bench = bench();
    let peer = "127.0.0.1".parse().ok();
    let ask = |method: &str, target: &str| bench.aggrec.answer(&Request { peer, ..request(method, target, "") });
    let id = "000000000000000000000000";
    let mut routes = vec![("/api/v1/aggregate/histogram".to_owned(), "POST", ["GET", "PUT", "DELETE"])];
    for path in
        [&format!("aggregates/{id}"), &format!("aggregates/{id}/payload"), "healthcheck", "stats/creators", "stats/aggregates"]
    {
        routes.push((format!("/api/v1/{path}"), "GET", ["POST", "PUT", "DELETE"]));
    }
    for (target, allowed, methods) in &routes {
        for method in methods {
            let answer = ask(method, target);
            check_detail(&answer, 405, "Method Not Allowed");
            assert_eq!(answer.header("allow"), Some(*allowed), "{method} {target}");
        }
    }
    for target in ["/", "/api/v1/aggregate", "/api/v1/stats/others", "/api/v2/healthcheck"] {
        check_detail(&ask("GET", target), 404, "Not Found");
    }
}

#[test]
fn health_and_statistics_are_for_allowed_networks() {
    let bench = bench();
    let ask = |target: &str, peer: &str| bench.aggrec.answer(&Request { peer: peer.parse().ok(), ..request("GET", target, "") });
    for target in ["/api/v1/healthcheck", "/api/v1/stats/creators", "/api/v1/stats/aggregates"] {
        check_detail(&ask(target, "192.0.2.1"), 403, "Forbidden");
    }
    check(&ask("/api/v1/healthcheck", "127.0.0.1"), 200, r#"{"status":"OK","aggregates_count":0}"#);
    // What the real service shows there is not published: see the README.
    check_detail(&ask("/api/v1/stats/creators", "127.0.0.1"), 404, "Not Found");
}

#[test]
fn new_aggregates_are_announced_once() {
    let bench = bench();
    let announced = || {
        let dump = bench.record.dump();
        let lines = dump.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["kind"] == "announcement").collect::<Vec<_>>()
    };
    assert_eq!(bench.aggrec.answer(&bench.signed(|request| set(request, "content-length", "3"))).status, 400);
    assert_eq!(announced().len(), 0, "nothing was stored");
    for _ in 0..2 {
        assert_eq!(bench.aggrec.answer(&bench.signed(|_| {})).status, 201);
    }
    assert_eq!(announced().len(), 1, "a repetition is no new aggregate");
    assert_eq!(announced()[0]["data"]["aggregate_interval_duration"], 60);
    // Without an interval, or with one of no length, the message says nothing of it.
    for (number, interval) in ["", "2026-11-20T23:57:00Z/PT0S"].into_iter().enumerate() {
        let mut other = unsigned(format!("body {number}").as_bytes());
        set(&mut other, "aggregate-interval", interval);
        sign(&mut other, &bench.edge.data, &COVERED, &usual_parameters());
        assert_eq!(bench.aggrec.answer(&other).status, 201);
        let message = announced().pop().unwrap();
        assert_eq!(message["subject"], "aggregates");
        assert!(message["data"].as_object().unwrap().keys().all(|member| !member.contains("interval")), "{message}");
    }
    assert_eq!(announced().len(), 3);
}
