//! The content of an image as a sorted tree: the same content gives the same bytes, whoever builds it and when.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context as _, Result, bail};

/// What stands at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Folder { mode: u32, owner: u64 },
    File { mode: u32, bytes: Vec<u8> },
}

/// Paths without the leading slash, in order; folders come before what they hold because they sort first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    nodes: BTreeMap<String, Node>,
}

impl Content {
    /// Adds one node and the folders above it. What is there already stays.
    pub(crate) fn add(&mut self, path: &str, node: Node) -> Result<()> {
        let path = path.trim_start_matches('/').trim_end_matches('/');
        if path.is_empty() || path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            bail!("{path:?} is no path for an image");
        }
        let mut above = String::new();
        for part in path.split('/').take(path.matches('/').count()) {
            if !above.is_empty() {
                above.push('/');
            }
            above.push_str(part);
            self.nodes.entry(above.clone()).or_insert(Node::Folder { mode: 0o755, owner: 0 });
        }
        if let Node::Folder { .. } = node {
            self.nodes.insert(path.to_owned(), node);
        } else {
            self.nodes.entry(path.to_owned()).or_insert(node);
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(crate) fn size(&self) -> u64 {
        self.nodes.values().map(|node| if let Node::File { bytes, .. } = node { bytes.len() as u64 } else { 0 }).sum()
    }

    /// The largest files, for the person who has to make it smaller.
    pub(crate) fn largest(&self) -> String {
        let mut files: Vec<(usize, &str)> = self
            .nodes
            .iter()
            .filter_map(
                |(path, node)| if let Node::File { bytes, .. } = node { Some((bytes.len(), path.as_str())) } else { None },
            )
            .collect();
        files.sort_unstable_by(|left, right| right.cmp(left));
        let lines: Vec<String> = files.iter().take(8).map(|(size, path)| format!("    {size:>10} {path}")).collect();
        lines.join("\n")
    }

    /// Writes the layer. Times are zero, owners fixed.
    pub(crate) fn write_layer(&self, out: impl Write) -> Result<()> {
        let mut builder = tar::Builder::new(out);
        for (path, node) in &self.nodes {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            let adding = || format!("adding {path} to the layer");
            match node {
                Node::Folder { mode, owner } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_uid(*owner);
                    header.set_gid(*owner);
                    builder.append_data(&mut header, format!("{path}/"), std::io::empty()).with_context(adding)?;
                }
                Node::File { mode, bytes } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, path, bytes.as_slice()).with_context(adding)?;
                }
            }
        }
        builder.into_inner().context("ending the layer")?.flush().context("writing the layer")
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Node};

    fn layer(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.write_layer(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        let file = |text: &str| Node::File { mode: 0o644, bytes: text.as_bytes().to_vec() };
        let (mut one, mut two) = (Content::default(), Content::default());
        one.add("/etc/b", file("b")).unwrap();
        one.add("/a", file("a")).unwrap();
        two.add("a", file("a")).unwrap();
        two.add("etc/b", file("b")).unwrap();
        assert_eq!(layer(&one), layer(&two));
        two.add("etc/c", file("c")).unwrap();
        assert_ne!(layer(&one), layer(&two));
    }

    #[test]
    fn paths_that_leave_the_image_are_refused() {
        for bad in ["", "/", "a/../b", "a//b", "./a"] {
            assert!(Content::default().add(bad, Node::Folder { mode: 0o755, owner: 0 }).is_err(), "{bad:?}");
        }
    }
}
