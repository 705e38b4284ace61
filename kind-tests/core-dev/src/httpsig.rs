//! HTTP message signatures (RFC 9421) and content digests (RFC 9530), as strict as aggrec about them.

use std::fmt::Write as _;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256, Sha512};

use crate::keys::{PublicKey, Scheme};
use crate::message::Request;
use crate::structured::{Item, Member, Parameters, dictionary, parameter, write_list};

/// How far `created` may lie ahead of the server's clock, and how far behind, in seconds.
const AHEAD: i64 = 5;
const BEHIND: i64 = 24 * 3600;

/// Why a request is refused; the comments name aggrec's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// 400 `Unable to verify HTTP signature`
    #[error("the HTTP signature is malformed")]
    Malformed,
    /// 401 `Unknown HTTP signature key`
    #[error("the HTTP signature's key is unknown")]
    UnknownKey,
    /// 401 `Invalid HTTP signature`
    #[error("the HTTP signature does not verify")]
    Invalid,
    /// 500
    #[error("the HTTP signature names no known algorithm")]
    Algorithm,
    /// 401 `Content-Digest verification failed`
    #[error("the content digest differs")]
    DigestDiffers,
    /// 401 `Unable to verify Content-Digest`
    #[error("the content digest is not covered or of no known algorithm")]
    DigestUnusable,
}

/// Who signed, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The node name.
    pub key_id: String,
    /// Lower-case header names.
    pub covered: Vec<String>,
}

/// What a request's two signature headers say, read but not verified.
struct Claim {
    components: Vec<(Item, Parameters)>,
    parameters: Parameters,
    covered: Vec<String>,
    signature: Vec<u8>,
}

impl Claim {
    fn of(request: &Request) -> Result<Self, SignatureError> {
        let inputs = header_dictionary(request, "signature-input")?;
        let signatures = header_dictionary(request, "signature")?;
        // The library behind aggrec takes exactly one.
        let [(label, Member::List(components, parameters))] = &inputs[..] else {
            return Err(if inputs.len() > 1 { SignatureError::Invalid } else { SignatureError::Malformed });
        };
        let signature = match &signatures[..] {
            [(name, Member::Item(Item::Bytes(bytes), _))] if name == label => bytes.clone(),
            [(name, _)] if name == label => return Err(SignatureError::Malformed),
            _ => return Err(SignatureError::Invalid),
        };
        let covered = covered_headers(components)?;
        Ok(Self { components: components.clone(), parameters: parameters.clone(), covered, signature })
    }

    /// RFC 9421 section 2.5: one line for each component, the parameters last and without a line feed.
    fn base(&self, request: &Request) -> Result<String, SignatureError> {
        let mut base = String::new();
        for name in &self.covered {
            let value = request.header(name).ok_or(SignatureError::Malformed)?;
            writeln!(base, "\"{name}\": {value}").map_err(|_| SignatureError::Malformed)?;
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(&write_list(&self.components, &self.parameters));
        Ok(base)
    }
}

/// What the signature of a request is over.
///
/// # Errors
/// When the request's signature headers cannot be read, or a covered header is missing.
pub fn signature_base(request: &Request) -> Result<String, SignatureError> {
    Claim::of(request)?.base(request)
}

/// Verifies signature and digest of a request; `find_key` knows the public keys of the nodes.
///
/// # Errors
/// With the first rule that is broken.
pub fn verify(
    request: &Request,
    now: Timestamp,
    find_key: impl Fn(&str) -> Option<PublicKey>,
) -> Result<Verified, SignatureError> {
    let claim = Claim::of(request)?;
    check_dates(&claim.parameters, now)?;
    let scheme = scheme(&claim.parameters)?;
    let key_id = key_id(&claim.parameters)?;
    let key = find_key(&key_id).ok_or(SignatureError::UnknownKey)?;
    if !fits(&key, scheme) {
        return Err(SignatureError::Malformed);
    }
    if !key.verifies(scheme, claim.base(request)?.as_bytes(), &claim.signature) {
        return Err(SignatureError::Invalid);
    }
    check_digest(request, &claim.covered)?;
    Ok(Verified { key_id, covered: claim.covered })
}

fn header_dictionary(request: &Request, name: &str) -> Result<Vec<(String, Member)>, SignatureError> {
    dictionary(&request.header(name).unwrap_or_default()).map_err(|_| SignatureError::Malformed)
}

/// Plain header names only. The real service would verify derived components on a direct connection, but its description forbids
/// them, and the proxy in front of it may change what they stand for: refused here, so that nobody comes to rely on them.
fn covered_headers(components: &[(Item, Parameters)]) -> Result<Vec<String>, SignatureError> {
    let mut names: Vec<String> = Vec::new();
    for (item, parameters) in components {
        let Item::Text(name) = item else { return Err(SignatureError::Malformed) };
        if name.starts_with('@') {
            return Err(SignatureError::Invalid);
        }
        // RFC 9421 section 2: lower case, and no component twice.
        if !parameters.is_empty() || names.contains(name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(SignatureError::Malformed);
        }
        names.push(name.clone());
    }
    Ok(names)
}

fn check_dates(parameters: &Parameters, now: Timestamp) -> Result<(), SignatureError> {
    let seconds = |name| match parameter(parameters, name) {
        None => Ok(None),
        Some(Item::Integer(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(SignatureError::Malformed),
    };
    let now = now.as_second();
    let created = seconds("created")?.ok_or(SignatureError::Invalid)?;
    let expired = seconds("expires")?.is_some_and(|expires| expires < now);
    if created > now + AHEAD || created < now - BEHIND || expired { Err(SignatureError::Invalid) } else { Ok(()) }
}

fn scheme(parameters: &Parameters) -> Result<Scheme, SignatureError> {
    match parameter(parameters, "alg") {
        Some(Item::Text(name)) => match name.as_str() {
            "ed25519" => Ok(Scheme::Ed25519),
            "ecdsa-p256-sha256" => Ok(Scheme::EcdsaP256),
            "rsa-v1_5-sha256" => Ok(Scheme::RsaPkcs1Sha256),
            "rsa-pss-sha512" => Ok(Scheme::RsaPssSha512),
            _ => Err(SignatureError::Algorithm),
        },
        _ => Err(SignatureError::Algorithm),
    }
}

fn key_id(parameters: &Parameters) -> Result<String, SignatureError> {
    let key_id = match parameter(parameters, "keyid") {
        None => return Err(SignatureError::UnknownKey),
        Some(Item::Text(key_id)) => key_id,
        Some(_) => return Err(SignatureError::Malformed),
    };
    let plain = !key_id.is_empty() && key_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    plain.then(|| key_id.clone()).ok_or(SignatureError::Malformed)
}

fn fits(key: &PublicKey, scheme: Scheme) -> bool {
    matches!(
        (key, scheme),
        (PublicKey::Ed25519(_), Scheme::Ed25519)
            | (PublicKey::P256(_), Scheme::EcdsaP256)
            | (PublicKey::Rsa { .. }, Scheme::RsaPkcs1Sha256 | Scheme::RsaPssSha512)
    )
}

fn check_digest(request: &Request, covered: &[String]) -> Result<(), SignatureError> {
    if !covered.iter().any(|name| name == "content-digest") {
        return Err(SignatureError::DigestUnusable);
    }
    let digests = header_dictionary(request, "content-digest").map_err(|_| SignatureError::DigestUnusable)?;
    let mut checked = false;
    for (algorithm, member) in &digests {
        let expected = match algorithm.as_str() {
            "sha-256" => Sha256::digest(&request.body).to_vec(),
            "sha-512" => Sha512::digest(&request.body).to_vec(),
            _ => continue,
        };
        let Member::Item(Item::Bytes(claimed), _) = member else { return Err(SignatureError::DigestUnusable) };
        if *claimed != expected {
            return Err(SignatureError::DigestDiffers);
        }
        checked = true;
    }
    if checked { Ok(()) } else { Err(SignatureError::DigestUnusable) }
}
