//! Name of a node at Core. Core compares it byte for byte, so it is kept as given.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Node name: key id of the data key, CN and SAN of the certificate, path element at nodeman, level of an MQTT topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// The text is no node name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a node name: expected dot-separated labels of 1 to 63 letters, digits and hyphens, 255 characters at most, \
     no hyphen at either end and no final dot"
)]
pub struct NodeNameError;

impl NodeName {
    /// Accepts what Core's nodeman accepts in a path, less the final dot that it tolerates there and then finds no node for.
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        let label_is_good = |label: &str| {
            (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let good = text.len() <= 255 && !text.starts_with('-') && !text.ends_with('-') && text.split('.').all(label_is_good);
        if good { Ok(Self(text.to_owned())) } else { Err(NodeNameError) }
    }

    /// The name as Core gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(text: String) -> Result<Self, NodeNameError> {
        Self::parse(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax() {
        for good in ["a", "edge.example", "Go-Edge.test.dnstapir.se", "1.2", "a-.b", &"a".repeat(63)] {
            assert!(NodeName::parse(good).is_ok(), "{good:?}");
        }
        let long = vec!["a".repeat(63); 4].join(".") + ".a";
        for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "å", "a/b", "a#", "+", "a b", &"a".repeat(64), &long] {
            assert_eq!(NodeName::parse(bad), Err(NodeNameError), "{bad:?}");
        }
    }

    #[test]
    fn case_is_kept_and_counts() {
        assert_ne!(NodeName::parse("A.example"), NodeName::parse("a.example"));
    }
}
