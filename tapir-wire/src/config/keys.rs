//! Every key of a file with its line, so that messages can name both.

use std::fmt::{self, Display};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// One key of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As `sources[0].list`.
    pub path: String,
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {})", self.path, self.line)
    }
}

/// All keys of a file in the order of their place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// Keys of a YAML text; none if it cannot be read, which reading it for real then reports.
    ///
    /// What stands in a list of plain values is content, even where a stray colon makes a key of it, and keeps its name to itself.
    pub(crate) fn of_yaml(text: &str, known: &[&str]) -> Self {
        let mut keys = Self::default();
        if let Ok(node) = serde_saphyr::from_str::<Node>(text) {
            keys.collect(&node, "", known);
        }
        keys
    }

    /// Keys of the top level of a TOML text.
    pub(crate) fn of_toml(text: &str) -> Self {
        let Ok(table) = toml::de::DeTable::parse(text) else {
            return Self::default();
        };
        let mut keys: Vec<_> = table.get_ref().keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
        keys.sort_unstable();
        let place = |(offset, path)| {
            let (line, column) = line_and_column(text, offset);
            Key { path, line, column }
        };
        Self(keys.into_iter().map(place).collect())
    }

    /// The topmost keys that are not among the known paths (`sources[].name`).
    pub(crate) fn unknown(&self, known: &[&str]) -> Vec<Key> {
        let mut unknown: Vec<Key> = Vec::new();
        for key in &self.0 {
            let below = |above: &Key| key.path.strip_prefix(above.path.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']));
            if !known.contains(&pattern(&key.path).as_str()) && !unknown.iter().any(below) {
                unknown.push(key.clone());
            }
        }
        unknown
    }

    /// The last key at or before a place.
    pub(crate) fn at(&self, line: u64, column: u64) -> Option<&Key> {
        self.0.iter().filter(|key| (key.line, key.column) <= (line, column)).max_by_key(|key| (key.line, key.column))
    }

    /// Line of a path, or of what stands around it.
    pub(crate) fn line_of(&self, path: &str) -> Option<u64> {
        let mut path = path;
        loop {
            let within = |key: &&Key| key.path == path || key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
            if let Some(key) = self.0.iter().find(within) {
                return Some(key.line);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    fn collect(&mut self, node: &Node, path: &str, known: &[&str]) {
        let below = format!("{}.", pattern(path));
        let is_content = path.ends_with(']') && !known.iter().any(|key| key.starts_with(&below));
        match node {
            Node::Map(entries) if is_content => {
                let place = entries.first().map(|(key, _)| key.referenced);
                let (line, column) = place.map_or((0, 0), |place| (place.line(), place.column()));
                self.0.push(Key { path: path.to_owned(), line, column });
            }
            Node::Map(entries) => {
                for (key, value) in entries {
                    let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                    let (line, column) = (key.referenced.line(), key.referenced.column());
                    self.0.push(Key { path: path.clone(), line, column });
                    self.collect(value, &path, known);
                }
            }
            Node::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    self.collect(item, &format!("{path}[{position}]"), known);
                }
            }
            Node::Scalar => {}
        }
    }
}

/// The path with every position left out.
fn pattern(path: &str) -> String {
    let mut within = false;
    path.chars()
        .filter(|character| {
            within = match character {
                '[' => true,
                ']' => false,
                _ => within,
            };
            !within || *character == '['
        })
        .collect()
}

/// Line and column, both from 1, of an offset in octets.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (u64, u64) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line as u64, column as u64)
}

/// The bare shape of a YAML text.
enum Node {
    Map(Vec<(Spanned<String>, Node)>),
    List(Vec<Node>),
    Scalar,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Node::Scalar)
    }
}
