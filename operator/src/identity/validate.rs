//! Turns what was fetched into what can be worked with, or into the reason why not. Pure.

use k8s_openapi::api::core::v1::Secret;
use tapir_wire::enrolment::Credentials;

use super::existing::Existing;
use super::inputs::IdentityInputs;
use super::keeper::CredentialsFound;
use super::material::fingerprint;
use crate::api::TapirEdgeSpec;
use crate::api::enrollment::ExistingIdentity;
use crate::edge::Referent;
use crate::nodeman::{NodemanError, TrustAnchors};

/// The credentials: missing, of no use, or good. Messages name members, never contents.
#[must_use]
pub(super) fn credentials(found: &IdentityInputs, edge: &TapirEdgeSpec) -> CredentialsFound {
    if let (Some(existing), Some(reference)) = (&found.existing, &edge.enrollment.existing_identity_secret_ref) {
        return taken_over(existing, reference);
    }
    match &found.credentials {
        Referent::Missing(what) => CredentialsFound::Missing {
            what: format!("{what}: create it with the enrolment credentials as received from the operator of Core"),
        },
        Referent::Found(bytes) => read(bytes).unwrap_or_else(|why| CredentialsFound::Invalid { why }),
    }
}

/// The data key of an installation that was there before, in place of credentials.
pub(super) fn taken_over(existing: &Referent<Secret>, reference: &ExistingIdentity) -> CredentialsFound {
    match existing {
        Referent::Missing(what) => CredentialsFound::Missing {
            what: format!("{what}: create it with the data key of the installation that is to be taken over"),
        },
        Referent::Found(secret) => match Existing::read(secret, &reference.name, reference.nodeman_url.as_deref()) {
            Ok(existing) => CredentialsFound::Existing(Box::new(existing)),
            Err(error) => CredentialsFound::Invalid { why: error.to_string() },
        },
    }
}

fn read(bytes: &[u8]) -> Result<CredentialsFound, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "credentials are not text; store the file exactly as Core's administrator sent it")?;
    let credentials = Credentials::parse(text).map_err(|error| error.to_string())?;
    let nodeman_url = credentials
        .nodeman_url
        .clone()
        .ok_or("credentials member \"nodeman_url\" is missing: ask the operator of Core for the address of nodeman and add it")?;
    Ok(CredentialsFound::Valid { fingerprint: fingerprint(text), credentials, nodeman_url })
}

/// How nodeman is verified.
///
/// # Errors
/// When the edge names a bundle that is not there. An edge that is enrolled already does not need it.
pub(super) fn trust_anchors(found: &IdentityInputs) -> Result<TrustAnchors, NodemanError> {
    match &found.ca_bundle {
        None => Ok(TrustAnchors::System),
        Some(Referent::Found(pem)) => Ok(TrustAnchors::Bundle(pem.clone())),
        Some(Referent::Missing(what)) => Err(NodemanError::BadTrustAnchors(what.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        read(text.as_bytes()).map(|_| ()).unwrap_err()
    }

    #[test]
    fn bad_credentials_are_explained_without_being_shown() {
        assert!(why("certainly not JSON").contains("not JSON"));
        let without_url = r#"{"name":"a.edge.test","key":{"kty":"oct","kid":"k","alg":"HS256","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"}}"#;
        let text = why(without_url);
        assert!(text.contains("nodeman_url") && !text.contains("c2VjcmV0"), "{text}");
        let bad_key = why(r#"{"name":"a.edge.test","key":{"kty":"oct","k":"@@secret@@"},"nodeman_url":"https://x/"}"#);
        assert!(!bad_key.contains("@@secret@@"), "{bad_key}");
    }
}
