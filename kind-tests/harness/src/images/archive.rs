//! An OCI image archive of one layer, made without a daemon (OCI image format specification 1.1, "image layout").

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::list::ImageList;
use crate::paths;

/// The registry part of all references: names nobody's registry, so a missing image can never be pulled from somewhere.
pub const REGISTRY: &str = "tapir.local";

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Written {
    pub reference: String,
    /// Of the manifest.
    pub digest: String,
    /// Of the content.
    pub bytes: u64,
}

/// Writes the archive to `path`, whole or not at all.
pub(crate) fn write(list: &ImageList, content: &Content, path: &Path) -> Result<Written> {
    let mut layer = Vec::new();
    content.write_layer(&mut layer)?;
    let layer_digest = digest(&layer);
    let configuration = encode(&configuration(list, &layer_digest))?;
    let manifest = encode(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(&configuration),
            "size": configuration.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer_digest,
            "size": layer.len(),
        }],
    }))?;
    let manifest_digest = digest(&manifest);
    // Short enough to read, long enough never to collide; tags of content make `IfNotPresent` right.
    let tag: String = manifest_digest.chars().skip("sha256:".len()).take(12).collect();
    let reference = format!("{REGISTRY}/{}:{tag}", list.name);
    let index = encode(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest_digest,
            "size": manifest.len(),
            "platform": {"architecture": architecture(), "os": "linux"},
            "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag},
        }],
    }))?;

    let unfinished = paths::unfinished(path);
    let file = File::create(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    let mut builder = tar::Builder::new(BufWriter::new(file));
    let mut blobs = [(digest(&configuration), configuration), (manifest_digest.clone(), manifest), (layer_digest, layer)];
    blobs.sort();
    append(&mut builder, "oci-layout", &encode(&json!({"imageLayoutVersion": "1.0.0"}))?)?;
    append(&mut builder, "index.json", &index)?;
    for (name, bytes) in &blobs {
        append(&mut builder, &format!("blobs/{}", name.replace(':', "/")), bytes)?;
    }
    builder.into_inner().and_then(|mut out| out.flush()).context("writing the archive")?;
    fs::rename(&unfinished, path).with_context(|| format!("moving the archive to {}", path.display()))?;
    Ok(Written { reference, digest: manifest_digest, bytes: content.size() })
}

fn configuration(list: &ImageList, layer_digest: &str) -> Value {
    let environment: Vec<String> = list.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": list.user,
            "Entrypoint": list.entrypoint,
            "Cmd": list.arguments,
            "Env": environment,
            "WorkingDir": list.working_folder,
            "Labels": {
                "org.opencontainers.image.title": list.name,
                "org.opencontainers.image.description": list.description,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created_by": "cargo xtask images"}],
    })
}

/// Go's names, as image formats use them.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn encode(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("writing JSON")
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn append(builder: &mut tar::Builder<BufWriter<File>>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, path, bytes).with_context(|| format!("adding {path} to the archive"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::content::{Content, Node};
    use super::super::list::ImageList;
    use super::{Written, write};

    const LIST: &str = r#"
        description = "for a test"
        user = "65532:65532"
        entrypoint = ["/usr/bin/one"]
        limit_megabytes = 1
        environment = {B = "2", A = "1"}
    "#;

    fn archive(name: &str, text: &str, folder: &std::path::Path) -> (Written, Vec<u8>) {
        let list: ImageList = toml::from_str(text).unwrap();
        let mut content = Content::default();
        content.add("/usr/bin/one", Node::File { mode: 0o755, bytes: b"one".to_vec() }).unwrap();
        let path = folder.join(name);
        let written = write(&list, &content, &path).unwrap();
        (written, fs::read(path).unwrap())
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_and_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (one, bytes) = archive("one.tar", LIST, folder.path());
        // Of no influence: into which file, and the order in which the list names its members.
        let reordered = LIST.replace(r#"{B = "2", A = "1"}"#, r#"{A = "1", B = "2"}"#);
        let (two, same) = archive("two.tar", &reordered, folder.path());
        assert_eq!((&one, &bytes), (&two, &same));
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let header = entry.unwrap().header().clone();
            let owner = (header.uid().unwrap(), header.gid().unwrap());
            assert_eq!((header.mtime().unwrap(), owner), (0, (0, 0)), "nothing of this moment or of this user");
        }
        assert!(one.digest.starts_with("sha256:") && one.reference.ends_with(&one.digest[7..19]), "{one:?}");
        let (other, _) = archive("three.tar", &LIST.replace("65532:65532", "0:0"), folder.path());
        assert_ne!((one.digest, one.reference), (other.digest, other.reference));
    }
}
