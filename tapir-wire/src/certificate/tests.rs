//! Requests and refusals with a CA of our own; recorded certificates are tried in `tests/core.rs`.

use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;

use super::*;

fn name() -> NodeName {
    NodeName::parse("Edge-1.test.example").unwrap()
}

#[test]
fn the_request_holds_name_and_key_and_nothing_else() {
    let key = TlsKey::generate().unwrap();
    let pem = key.csr(&name()).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n") && !pem.contains('\r'));
    let request = CertificateSigningRequestParams::from_pem(&pem).unwrap();
    assert_eq!(request.params.subject_alt_names, [SanType::DnsName(name().as_str().try_into().unwrap())]);

    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&block.contents).unwrap();
    let information = &request.certification_request_info;
    assert_eq!(information.subject.iter_attributes().count(), 1);
    assert_eq!(information.subject.iter_common_name().next().unwrap().as_str().unwrap(), name().as_str());
    assert_eq!(information.subject_pki.raw, key.public_key_der());
    let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
    let [ParsedExtension::SubjectAlternativeName(names)] = extensions.as_slice() else {
        panic!("{extensions:?}");
    };
    assert_eq!(names.general_names, [GeneralName::DNSName(name().as_str())]);
}

#[test]
fn keys_survive_a_round_trip_and_are_not_shown() {
    let key = TlsKey::generate().unwrap();
    let again = TlsKey::from_pem(&key.pem()).unwrap();
    assert_eq!(again.public_key_der(), key.public_key_der());
    assert_eq!(again.pem(), key.pem());
    assert_eq!(format!("{key:?}"), "TlsKey { .. }");
    assert_eq!(TlsKey::from_pem("").unwrap_err(), CertificateError::BadKey);
}

/// A CA of our own, and what it makes of a request.
fn issue(change: impl FnOnce(&mut CertificateParams)) -> (String, String, TlsKey) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let key = TlsKey::generate().unwrap();
    let mut request = CertificateSigningRequestParams::from_pem(&key.csr(&name()).unwrap()).unwrap();
    change(&mut request.params);
    let leaf = request.signed_by(&Issuer::new(authority, authority_key)).unwrap().pem();
    (leaf, root, key)
}

fn check(change: impl FnOnce(&mut CertificateParams)) -> Result<(), CertificateError> {
    let (leaf, root, key) = issue(change);
    check_issued(&leaf, &root, &key, &name(), "2026-11-21T00:00:00Z".parse().unwrap()).map(drop)
}

#[test]
fn only_the_node_itself_may_be_named() {
    assert_eq!(check(|_| {}), Ok(()));
    let more = check(|leaf| leaf.subject_alt_names.push(SanType::DnsName("other.example".try_into().unwrap())));
    assert!(matches!(more, Err(CertificateError::OtherName { .. })), "{more:?}");
    let address = check(|leaf| leaf.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into())));
    assert!(matches!(address, Err(CertificateError::OtherName { .. })), "{address:?}");
    assert!(matches!(check(|leaf| leaf.subject_alt_names.clear()), Err(CertificateError::OtherName { .. })));
}

#[test]
fn a_certificate_that_clients_cannot_use_is_refused() {
    let server = check(|leaf| leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
    assert!(matches!(server, Err(CertificateError::Untrusted(_))), "{server:?}");
    let authority = check(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(matches!(authority, Err(CertificateError::Untrusted(_))), "{authority:?}");
}

#[test]
fn a_forged_signature_is_refused() {
    let (leaf, _, key) = issue(|_| {});
    // Another CA of the same name: only its key differs.
    let (_, other_root, _) = issue(|_| {});
    let forged = check_issued(&leaf, &other_root, &key, &name(), "2026-11-21T00:00:00Z".parse().unwrap());
    assert!(matches!(forged, Err(CertificateError::Untrusted(_))), "{forged:?}");
}
