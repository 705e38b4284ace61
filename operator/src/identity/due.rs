//! What is to be done about the certificate of an identity, and when. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use tapir_plan::renewal::{Percent, Schedule, Standing, Validity, rest, schedule, standing};
use tapir_wire::certificate::{CertificateError, CertificateInfo, TlsKey, check_issued};
use tapir_wire::node::{CA_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY};

use super::material::{RENEWED_AT_ANNOTATION, RENEWED_FOR_ANNOTATION, data_key, text};

/// What is to be had from Core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    #[default]
    No,
    /// Another certificate.
    Renew(Why),
    /// Its configuration.
    Refresh,
}

/// Why there is to be another certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Why {
    /// The old one is near its end, or beyond.
    Time,
    /// Somebody asked for it.
    Asked,
    /// The old one does not belong to its key, or to its CA.
    Unusable,
}

/// The certificate of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub info: CertificateInfo,
    pub schedule: Schedule,
    pub standing: Standing,
    /// Why no peer could accept it, whatever the time.
    pub unusable: Option<String>,
}

impl Certificate {
    /// The one in an identity, as it stands now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(identity: &Secret, renew_at: Percent, now: Timestamp) -> Result<Self, CertificateError> {
        let chain = text(identity, TLS_CERTIFICATE).map_err(|_| CertificateError::NotPem { what: "certificate" })?;
        let info = CertificateInfo::from_pem(chain)?;
        let validity = Validity { not_before: info.not_before, not_after: info.not_after };
        let node = data_key(identity).map(|key| key.kid().to_owned()).unwrap_or_default();
        let schedule = schedule(validity, renew_at, &node, &info.serial);
        let unusable = usable(identity, chain, &info, now).err().map(|error| error.to_string());
        Ok(Self { standing: standing(&schedule, validity, now), schedule, info, unusable })
    }

    /// From when until when it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        Validity { not_before: self.info.not_before, not_after: self.info.not_after }
    }

    /// When the next turning point is, if it has one before it.
    #[must_use]
    pub fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        let turns = [self.info.not_before, self.schedule.renew_at, self.schedule.overdue_at, self.info.not_after];
        turns.into_iter().filter(|turn| *turn > now).min()
    }
}

/// Key, name and path, at a time at which the certificate is valid: its time is another matter.
fn usable(identity: &Secret, chain: &str, info: &CertificateInfo, now: Timestamp) -> Result<(), CertificateError> {
    let key = TlsKey::from_pem(text(identity, TLS_KEY).map_err(|_| CertificateError::BadKey)?)?;
    let anchors = text(identity, CA_CERTIFICATE).map_err(|_| CertificateError::NotPem { what: "CA certificate" })?;
    // The data key is looked at elsewhere; without it nothing could be renewed either.
    let Ok(data) = data_key(identity) else { return Ok(()) };
    if info.not_before >= info.not_after {
        return Err(CertificateError::Expired(info.not_after));
    }
    let at = now.clamp(info.not_before, info.not_after);
    check_issued(chain, anchors, &key, data.node_name(), at).map(drop)
}

/// Whether there is to be another certificate, if Core may be asked. `asked` is what the edge's annotation says.
#[must_use]
pub fn renewal(
    identity: &Secret,
    certificate: &Result<Certificate, CertificateError>,
    asked: Option<&str>,
    now: Timestamp,
) -> Option<Why> {
    let annotations = identity.annotations();
    if asked.is_some_and(|asked| annotations.get(RENEWED_FOR_ANNOTATION).map(String::as_str) != Some(asked)) {
        return Some(Why::Asked);
    }
    let why = match certificate {
        Err(_) => Why::Unusable,
        Ok(certificate) if certificate.unusable.is_some() => Why::Unusable,
        Ok(certificate) if certificate.standing.is_due() => Why::Time,
        Ok(_) => return None,
    };
    let pause = certificate.as_ref().map_or(SHORTEST_REST, |certificate| rest(certificate.validity()));
    let renewed: Option<Timestamp> = annotations.get(RENEWED_AT_ANNOTATION).and_then(|time| time.parse().ok());
    // A success in the future was had while the clock was ahead.
    let resting = renewed.is_some_and(|renewed| renewed <= now && now.duration_since(renewed) < pause);
    (!resting).then_some(why)
}

/// When a renewal that is due is to be had although the last one was a moment ago.
#[must_use]
pub fn rested_at(identity: &Secret, certificate: &Certificate, now: Timestamp) -> Option<Timestamp> {
    let renewed: Timestamp = identity.annotations().get(RENEWED_AT_ANNOTATION)?.parse().ok()?;
    renewed.checked_add(rest(certificate.validity())).ok().filter(|rested| renewed <= now && *rested > now)
}

/// Where the certificate does not say how long it lasts.
const SHORTEST_REST: SignedDuration = SignedDuration::from_mins(1);

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;
