//! What nodeman checks in a certificate signing request (RFC 2986) before a certificate is issued.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

/// Object identifier of the common name attribute.
const COMMON_NAME: &str = "2.5.4.3";
/// Object identifier of keys on elliptic curves.
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

/// Why a request is refused. Nodeman answers 400 to the first kind and 500 to all others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not PEM, or not a certificate request.
    #[error("the CSR cannot be read")]
    Unreadable,
    /// The request is not signed by its own key.
    #[error("the CSR's signature does not verify")]
    Signature,
    /// The subject is anything but one common name equal to the node name.
    #[error("the CSR's subject is not the node name alone")]
    Subject,
    /// Something beside subjectAltName is requested, or nothing is.
    #[error("the CSR does not request exactly the extension subjectAltName")]
    Extensions,
    /// The DNS names are not exactly the node name.
    #[error("the CSR's DNS names are not the node name alone")]
    AlternativeNames,
}

/// Checks the request and returns its SubjectPublicKeyInfo, the only part that goes into the certificate.
///
/// # Errors
/// With the first rule that is broken.
pub fn check(pem: &str, node_name: &str) -> Result<Vec<u8>, CsrError> {
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|_| CsrError::Unreadable)?;
    if !["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&block.label.as_str()) {
        return Err(CsrError::Unreadable);
    }
    let (rest, csr) = X509CertificationRequest::from_der(&block.contents).map_err(|_| CsrError::Unreadable)?;
    if !rest.is_empty() {
        return Err(CsrError::Unreadable);
    }
    if !signature_verifies(&csr) {
        return Err(CsrError::Signature);
    }
    check_subject(&csr, node_name)?;
    check_extensions(&csr, node_name)?;
    Ok(csr.certification_request_info.subject_pki.raw.to_vec())
}

fn check_subject(csr: &X509CertificationRequest<'_>, node_name: &str) -> Result<(), CsrError> {
    let attributes: Vec<_> = csr.certification_request_info.subject.iter_attributes().collect();
    let [attribute] = attributes[..] else { return Err(CsrError::Subject) };
    let is_name = attribute.attr_type().to_id_string() == COMMON_NAME && attribute.as_str().is_ok_and(|value| value == node_name);
    is_name.then_some(()).ok_or(CsrError::Subject)
}

fn check_extensions(csr: &X509CertificationRequest<'_>, node_name: &str) -> Result<(), CsrError> {
    let mut requested = Vec::new();
    for attribute in csr.certification_request_info.iter_attributes() {
        if let ParsedCriAttribute::ExtensionRequest(request) = attribute.parsed_attribute() {
            requested.extend(request.extensions.iter().map(|extension| extension.parsed_extension()));
        }
    }
    let [ParsedExtension::SubjectAlternativeName(names)] = requested[..] else { return Err(CsrError::Extensions) };
    // Entries of other kinds are not looked at, as at nodeman.
    let dns_names: Vec<&str> = names
        .general_names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .collect();
    if dns_names == [node_name] { Ok(()) } else { Err(CsrError::AlternativeNames) }
}

fn signature_verifies(csr: &X509CertificationRequest<'_>) -> bool {
    let info = &csr.certification_request_info;
    let key = &info.subject_pki;
    let algorithm = key.algorithm.algorithm.to_id_string();
    // Only keys on elliptic curves are told apart by a parameter, the curve.
    let curve =
        key.algorithm.parameters.as_ref().filter(|_| algorithm == EC_PUBLIC_KEY).and_then(|parameters| parameters.as_oid().ok());
    let kind = curve.map_or(algorithm, |oid| oid.to_id_string());
    let Some(algorithm) = verification(&kind, &csr.signature_algorithm.algorithm.to_id_string()) else { return false };
    UnparsedPublicKey::new(algorithm, &key.subject_public_key.data).verify(info.raw, &csr.signature_value.data).is_ok()
}

/// `kind` is the curve of an EC key, else the key's algorithm.
fn verification(kind: &str, signature_algorithm: &str) -> Option<&'static dyn VerificationAlgorithm> {
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    const P521: &str = "1.3.132.0.35";
    const RSA: &str = "1.2.840.113549.1.1.1";
    const ED25519: &str = "1.3.101.112";
    const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
    const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
    const ECDSA_SHA512: &str = "1.2.840.10045.4.3.4";
    Some(match (kind, signature_algorithm) {
        (P256, ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
        (P256, ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
        (P384, ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
        (P384, ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
        (P521, ECDSA_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
        (P521, ECDSA_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
        (P521, ECDSA_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
        (RSA, "1.2.840.113549.1.1.11") => &signature::RSA_PKCS1_2048_8192_SHA256,
        (RSA, "1.2.840.113549.1.1.12") => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RSA, "1.2.840.113549.1.1.13") => &signature::RSA_PKCS1_2048_8192_SHA512,
        (ED25519, ED25519) => &signature::ED25519,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};

    const NAME: &str = "edge-a.test.dnstapir.se";

    fn params(common_name: &str, names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params
    }

    fn check_params(params: &CertificateParams, expected: &Result<(), CsrError>) {
        let key = KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(&check(&pem, NAME).map(|_| ()), expected);
    }

    #[test]
    fn name_alone_is_accepted_with_every_kind_of_key() {
        check_params(&params(NAME, &[NAME]), &Ok(()));
        for algorithm in [
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ECDSA_P521_SHA512,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let pem = params(NAME, &[NAME]).serialize_request(&key).unwrap().pem().unwrap();
            assert_eq!(check(&pem, NAME), Ok(rcgen::PublicKeyData::subject_public_key_info(&key)), "{algorithm:?}");
        }
    }

    #[test]
    fn subject_must_be_one_common_name() {
        check_params(&params("other.test.dnstapir.se", &[NAME]), &Err(CsrError::Subject));
        check_params(&params("Edge-A.test.dnstapir.se", &[NAME]), &Err(CsrError::Subject));
        let mut with_organisation = params(NAME, &[NAME]);
        with_organisation.distinguished_name.push(DnType::OrganizationName, "Example");
        check_params(&with_organisation, &Err(CsrError::Subject));
        let mut empty = params(NAME, &[NAME]);
        empty.distinguished_name = rcgen::DistinguishedName::new();
        check_params(&empty, &Err(CsrError::Subject));
    }

    #[test]
    fn alternative_names_must_be_the_name_alone() {
        check_params(&params(NAME, &[]), &Err(CsrError::Extensions));
        check_params(&params(NAME, &["other.test.dnstapir.se"]), &Err(CsrError::AlternativeNames));
        check_params(&params(NAME, &[NAME, "other.test.dnstapir.se"]), &Err(CsrError::AlternativeNames));
        check_params(&params(NAME, &[NAME, NAME]), &Err(CsrError::AlternativeNames));
        let mut with_address = params(NAME, &[NAME]);
        with_address.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 1].into()));
        check_params(&with_address, &Ok(()));
    }

    #[test]
    fn no_other_extension_may_be_requested() {
        let mut usage = params(NAME, &[NAME]);
        usage.key_usages.push(KeyUsagePurpose::DigitalSignature);
        check_params(&usage, &Err(CsrError::Extensions));
        let mut extended = params(NAME, &[NAME]);
        extended.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        check_params(&extended, &Err(CsrError::Extensions));
        let mut constraints = params(NAME, &[NAME]);
        constraints.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        check_params(&constraints, &Err(CsrError::Extensions));
    }

    #[test]
    fn a_changed_request_no_longer_verifies() {
        let key = KeyPair::generate().unwrap();
        let mut der = params(NAME, &[NAME]).serialize_request(&key).unwrap().der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert_eq!(check(&crate::encoding::pem("CERTIFICATE REQUEST", &der), NAME), Err(CsrError::Signature));
    }

    #[test]
    fn what_is_no_request_is_unreadable() {
        let key = KeyPair::generate().unwrap();
        let certificate = params(NAME, &[NAME]).self_signed(&key).unwrap().pem();
        let garbage = crate::encoding::pem("CERTIFICATE REQUEST", b"garbage");
        for text in ["", "hello", &certificate, &garbage] {
            assert_eq!(check(text, NAME), Err(CsrError::Unreadable), "{text}");
        }
    }
}
