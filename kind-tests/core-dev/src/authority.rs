//! The issuing CA of the nodes: nothing but a public key and a name goes in, a client certificate comes out.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
    SubjectPublicKeyInfo,
};

/// Lifetimes in seconds. When an operator configures neither limit, both equal the default, so that any other wish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Given when the client asks for none.
    pub default: u64,
    /// The shortest that may be asked for.
    pub minimum: u64,
    /// The longest that may be asked for.
    pub maximum: u64,
}

impl Lifetimes {
    /// The limits as nodeman's internal CA derives them.
    #[must_use]
    pub fn new(default: u64, minimum: Option<u64>, maximum: Option<u64>) -> Self {
        Self { default, minimum: minimum.unwrap_or(default), maximum: maximum.unwrap_or(default) }
    }
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The requested lifetime lies outside the limits.
    #[error("the requested lifetime is outside the limits of the CA")]
    Lifetime,
    /// The key is of a kind that the CA cannot certify, or signing failed.
    #[error("issuing the certificate")]
    Issue(#[from] rcgen::Error),
    /// A date lies outside what X.509 can say.
    #[error("the certificate's dates are out of range")]
    Date,
}

/// A certificate just made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The leaf alone, PEM.
    pub leaf: String,
    /// Decimal.
    pub serial: String,
    /// End of validity.
    pub not_after: Timestamp,
}

/// The issuing CA with its root.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// PEM of the issuing CA's certificate.
    pub issuer_certificate: String,
    /// PEM of the root's certificate, the nodes' trust anchor.
    pub root_certificate: String,
    lifetimes: Mutex<Lifetimes>,
    skew: u64,
}

impl Authority {
    /// From PEM texts. Certificates begin `skew` seconds before they are made.
    ///
    /// # Errors
    /// When the issuing CA or its key cannot be read.
    pub fn new(
        issuer_certificate: &str,
        issuer_key: &str,
        root_certificate: &str,
        lifetimes: Lifetimes,
        skew: u64,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(issuer_key)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(issuer_certificate, key)?,
            issuer_certificate: issuer_certificate.to_owned(),
            root_certificate: root_certificate.to_owned(),
            lifetimes: Mutex::new(lifetimes),
            skew,
        })
    }

    /// What is given and may be asked for.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        *self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes that for certificates to come.
    pub fn set_lifetimes(&self, lifetimes: Lifetimes) {
        *self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner) = lifetimes;
    }

    /// Issues a certificate for `node_name` on the key of `spki_der`.
    ///
    /// # Errors
    /// When the lifetime is refused or the key cannot be certified.
    pub fn issue(
        &self,
        spki_der: &[u8],
        node_name: &str,
        lifetime: Option<u64>,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let lifetimes = self.lifetimes();
        let seconds = lifetime.unwrap_or(lifetimes.default);
        if lifetime.is_some() && !(lifetimes.minimum..=lifetimes.maximum).contains(&seconds) {
            return Err(AuthorityError::Lifetime);
        }
        let key = SubjectPublicKeyInfo::from_der(spki_der)?;
        let not_before = shifted(now, self.skew, false)?;
        let not_after = shifted(now, seconds, true)?;
        let mut serial = rand::random::<[u8; 20]>();
        serial[0] = (serial[0] & 0x7f) | 0x01;
        let mut params = CertificateParams::new(vec![node_name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, node_name);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_before)?;
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let leaf = crate::encoding::pem("CERTIFICATE", certificate.der());
        Ok(Issued { leaf, serial: decimal(&serial), not_after })
    }
}

fn shifted(now: Timestamp, seconds: u64, later: bool) -> Result<Timestamp, AuthorityError> {
    let seconds = i64::try_from(seconds).map_err(|_| AuthorityError::Date)?;
    let whole = Timestamp::from_second(now.as_second()).map_err(|_| AuthorityError::Date)?;
    whole.checked_add(SignedDuration::from_secs(if later { seconds } else { -seconds })).map_err(|_| AuthorityError::Date)
}

/// Seconds since 1970 for rcgen's dates, whose type comes from a crate that nothing else here needs. The bound keeps their
/// addition, which panics on overflow, inside the years that X.509 knows.
pub(crate) fn since_1970(time: Timestamp) -> Result<std::time::Duration, AuthorityError> {
    const YEAR_9999: u64 = 253_370_764_800;
    let seconds = u64::try_from(time.as_second()).ok().filter(|seconds| *seconds < YEAR_9999).ok_or(AuthorityError::Date)?;
    Ok(std::time::Duration::from_secs(seconds))
}

/// Big-endian octets as a decimal number.
fn decimal(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = u8::try_from(carry % 10).unwrap_or(0);
            carry /= 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use rcgen::PublicKeyData as _;
    use x509_parser::prelude::*;

    const NOW: &str = "2026-11-21T00:24:14.7Z";

    fn authority(lifetimes: Lifetimes) -> Authority {
        let pki = Pki::generate(NOW.parse().unwrap()).unwrap();
        Authority::new(&pki.node_issuer_certificate, &pki.node_issuer_key, &pki.node_root_certificate, lifetimes, 0).unwrap()
    }

    #[test]
    fn serial_numbers_are_printed_in_decimal() {
        assert_eq!(decimal(&[0x01, 0x00]), "256");
        assert_eq!(
            decimal(&hex::decode("72c391c9ac19e043e8022b1b1b3f322439ebf5a9").unwrap()),
            "655186293094608604955882934687889315114930402729"
        );
    }

    #[test]
    fn certificate_has_the_recorded_shape() {
        let authority = authority(Lifetimes::new(7_776_000, None, None));
        let key = KeyPair::generate().unwrap();
        let issued = authority.issue(&key.subject_public_key_info(), "a.example", None, NOW.parse().unwrap()).unwrap();
        let (_, block) = parse_x509_pem(issued.leaf.as_bytes()).unwrap();
        let certificate = block.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=a.example");
        assert_eq!(certificate.validity().not_before.timestamp(), 1_795_220_654);
        assert_eq!(certificate.validity().not_after.timestamp(), 1_795_220_654 + 7_776_000);
        assert_eq!(issued.serial, certificate.tbs_certificate.serial.to_string());
        // As recorded from the real service: (identifier, critical) of every extension.
        let mut extensions: Vec<(String, bool)> =
            certificate.extensions().iter().map(|extension| (extension.oid.to_id_string(), extension.critical)).collect();
        extensions.sort();
        let expected = [
            ("2.5.29.14", false),
            ("2.5.29.15", true),
            ("2.5.29.17", false),
            ("2.5.29.19", true),
            ("2.5.29.35", false),
            ("2.5.29.37", false),
        ];
        assert_eq!(extensions, expected.map(|(oid, critical)| (oid.to_owned(), critical)));
        let (_, issuer) = parse_x509_pem(authority.issuer_certificate.as_bytes()).unwrap();
        let issuer = issuer.parse_x509().unwrap();
        let subject_key = issuer.iter_extensions().find_map(|extension| {
            if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() { Some(id.0.to_vec()) } else { None }
        });
        let authority_key = certificate.iter_extensions().find_map(|extension| {
            if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
                id.key_identifier.as_ref().map(|id| id.0.to_vec())
            } else {
                None
            }
        });
        assert_eq!(subject_key, authority_key);
    }

    #[test]
    fn without_configured_limits_every_wish_but_the_default_is_refused() {
        let key = KeyPair::generate().unwrap().subject_public_key_info();
        let issue = |authority: &Authority, lifetime| {
            authority
                .issue(&key, "a.example", lifetime, NOW.parse().unwrap())
                .map(|issued| issued.not_after.as_second() - 1_795_220_654)
        };
        let narrow = authority(Lifetimes::new(7_776_000, None, None));
        assert!(matches!(issue(&narrow, Some(3600)), Err(AuthorityError::Lifetime)));
        assert_eq!(issue(&narrow, Some(7_776_000)).unwrap(), 7_776_000);
        let wide = authority(Lifetimes::new(7_776_000, Some(60), Some(8_000_000)));
        assert_eq!(issue(&wide, Some(3600)).unwrap(), 3600);
        assert!(matches!(issue(&wide, Some(59)), Err(AuthorityError::Lifetime)));
        assert!(matches!(issue(&wide, Some(8_000_001)), Err(AuthorityError::Lifetime)));
        assert!(matches!(issue(&wide, Some(u64::MAX)), Err(AuthorityError::Lifetime)));
    }
}
