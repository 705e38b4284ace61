//! Which data keys sign aggregates, and with which algorithms.

use crate::bench::*;
use crate::common::*;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA512};
use tapir_core_dev::message::Answer;

const NAMES: [&str; 4] = ["ed25519", "ecdsa-p256-sha256", "rsa-v1_5-sha256", "rsa-pss-sha512"];

fn answer(bench: &Bench, alg: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Answer {
    let mut request = unsigned(BODY);
    sign_by(&mut request, sign, &COVERED, &parameters(alg));
    bench.aggrec.answer(&request)
}

/// Every algorithm but `own` does not fit the key, however good the signature.
fn check_others(bench: &Bench, own: &[&str]) {
    for alg in NAMES.into_iter().filter(|alg| !own.contains(alg)) {
        check_detail(&answer(bench, alg, |base| bench.edge.data.sign(base)), 400, "Unable to verify HTTP signature");
    }
}

fn check_pair(data: Signer, alg: &str) {
    let bench = bench_with(data);
    check_others(&bench, &[alg]);
    check_detail(&answer(&bench, alg, |_| bench.edge.data.sign(b"something else")), 401, "Invalid HTTP signature");
    let taken = answer(&bench, alg, |base| bench.edge.data.sign(base));
    assert_eq!(taken.status, 201, "{alg}: {}", taken.text());
}

#[test]
fn ed25519_and_p256_keys_sign_by_their_one_algorithm() {
    check_pair(Signer::generate(), "ed25519");
    check_pair(Signer::p256(), "ecdsa-p256-sha256");
}

#[test]
fn rsa_keys_sign_by_either_of_two_algorithms() {
    let bench = bench_with(Signer::rsa());
    let key = &bench.edge.data;
    check_others(&bench, &["rsa-v1_5-sha256", "rsa-pss-sha512"]);
    let invalid = |answer: &Answer| check_detail(answer, 401, "Invalid HTTP signature");
    invalid(&answer(&bench, "rsa-v1_5-sha256", |base| key.sign_padded(&RSA_PSS_SHA512, base)));
    invalid(&answer(&bench, "rsa-v1_5-sha256", |base| key.sign_padded(&RSA_PKCS1_SHA512, base)));
    invalid(&answer(&bench, "rsa-pss-sha512", |base| key.sign_padded(&RSA_PKCS1_SHA256, base)));
    invalid(&answer(&bench, "rsa-pss-sha512", |base| key.sign_padded(&RSA_PSS_SHA256, base)));
    assert_eq!(answer(&bench, "rsa-v1_5-sha256", |base| key.sign_padded(&RSA_PKCS1_SHA256, base)).status, 201);
    assert_eq!(answer(&bench, "rsa-pss-sha512", |base| key.sign_padded(&RSA_PSS_SHA512, base)).status, 201);
}

#[test]
fn a_p384_key_enrols_but_signs_no_aggregate() {
    let bench = bench_with(Signer::p384());
    check_others(&bench, &[]);
    for alg in ["ecdsa-p384-sha384", "ed448"] {
        let answer = answer(&bench, alg, |base| bench.edge.data.sign(base));
        check(&answer, 500, "Internal Server Error");
        assert!(answer.closes);
    }
}
