//! The nodes that the administrator made, in memory. Names are compared byte for byte and never used twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::authority::Issued;
use crate::encoding::{base64url, spaced_json};
use crate::jwk::PublicJwk;
use crate::observations::{KeyKind, SigningKey, SigningKeyError};

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Sorted, each once.
    pub tags: Vec<String>,
    /// Private JWK; gone after the first success.
    pub enrolment_key: Option<Value>,
    /// The data key.
    pub public_key: Option<PublicJwk>,
    /// When it enrolled.
    pub activated: Option<Timestamp>,
    /// The newest certificate.
    pub certificate: Option<Issued>,
}

/// Kinds of enrolment keys: the service's default is symmetric, its shipped configuration says Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EnrolmentKeyKind {
    /// `OKP`, EdDSA.
    Ed25519,
    /// `oct`, HS256.
    Hs256,
}

impl EnrolmentKeyKind {
    /// A new key as it stands in the credentials.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn generate(self, now: Timestamp) -> Result<Value, SigningKeyError> {
        let kid = object_id(now);
        match self {
            Self::Ed25519 => SigningKey::generate_jwk(&kid, KeyKind::Ed25519),
            Self::Hs256 => Ok(json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": base64url(&rand::random::<[u8; 32]>())})),
        }
    }
}

/// 24 hexadecimal digits, the time first, as the services' database makes them.
#[must_use]
pub fn object_id(now: Timestamp) -> String {
    let [.., a, b, c, d] = now.as_second().to_be_bytes();
    hex::encode([&[a, b, c, d][..], &rand::random::<[u8; 8]>()].concat())
}

/// Why a node cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name exists or existed")]
pub struct NameUsed;

/// All nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<String, Node>,
    used: BTreeSet<String>,
    /// Certificates issued so far.
    pub certificates: u64,
}

impl Nodes {
    /// Makes a node that can be enrolled with `enrolment_key`.
    ///
    /// # Errors
    /// When a node of that name exists or ever existed.
    pub fn create(&mut self, name: &str, tags: &[String], enrolment_key: Value) -> Result<(), NameUsed> {
        if !self.used.insert(name.to_owned()) {
            return Err(NameUsed);
        }
        let tags: BTreeSet<String> = tags.iter().cloned().collect();
        let node = Node {
            name: name.to_owned(),
            tags: tags.into_iter().collect(),
            enrolment_key: Some(enrolment_key),
            public_key: None,
            activated: None,
            certificate: None,
        };
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// The node of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.get_mut(name)
    }

    /// Deletes; whether there was one.
    pub fn delete(&mut self, name: &str) -> bool {
        self.nodes.remove(name).is_some()
    }

    /// All nodes by name.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }
}

impl Node {
    /// The JWK that `public_key` serves, text as the service prints it. Before enrolment it holds `kid` and `tags` only.
    #[must_use]
    pub fn public_jwk(&self) -> String {
        let mut members = self.public_key.as_ref().map(PublicJwk::served_members).unwrap_or_default();
        members.insert("kid".into(), self.name.as_str().into());
        members.insert("tags".into(), self.tags.clone().into());
        spaced_json(&Value::Object(members))
    }

    /// Whether the node has every one of the tags, separated by commas.
    #[must_use]
    pub fn has_tags(&self, tags: &str) -> bool {
        tags.split(',').all(|tag| self.tags.iter().any(|own| own == tag))
    }
}

/// The syntax that nodeman accepts in a path: labels of 1 to 63 letters, digits and hyphens, 255 characters at most, no hyphen
/// at either end, one final dot tolerated.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    name.len() <= 255 && !labels.starts_with('-') && !labels.ends_with('-') && labels.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_name_syntax() {
        let long_label = "a".repeat(63);
        let long_name = vec!["abc"; 64].join(".");
        for good in ["a", "go-edge.test.dnstapir.se", "A.example.", "1.2", &long_label, &long_name] {
            assert!(is_node_name(good), "{good}");
        }
        let over_label = "a".repeat(64);
        let over_name = format!("{long_name}.ab");
        for bad in
            ["", ".", "a..b", "bad_name.example", "-a.b", "a.b-", "a.b-.", "ä.example", "a b", "a.b..", &over_label, &over_name]
        {
            assert!(!is_node_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_is_never_used_twice_and_case_makes_another_name() {
        let mut nodes = Nodes::default();
        assert_eq!(nodes.create("a.example", &[], Value::Null), Ok(()));
        assert_eq!(nodes.create("A.example", &[], Value::Null), Ok(()));
        assert_eq!(nodes.create("a.example.", &[], Value::Null), Ok(()));
        assert!(nodes.delete("a.example"));
        assert!(!nodes.delete("a.example"));
        assert_eq!(nodes.create("a.example", &[], Value::Null), Err(NameUsed));
    }
}
