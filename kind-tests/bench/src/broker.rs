//! A real mosquitto: the product comes with mutual TLS, as in production; the bench on the same machine comes in the clear, so that its
//! share of the processor is small.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use serde_json::json;
use tapir_rig::{Process, free_port, wait};
use tapir_wire::jwk::DataKey;
use tapir_wire::node;

/// Whom it knows.
pub(crate) const NODE: &str = "edge1.edge.tapir.test";
const PATIENCE: Duration = Duration::from_secs(20);

/// It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    _process: Process,
    /// Where nodes come with their certificates.
    pub(crate) mutual: SocketAddr,
    /// Where whoever comes may publish.
    pub(crate) open: SocketAddr,
}

/// Starts it, and writes what a node needs to come to it.
pub(crate) fn start(folder: &Path, node: &Path, trusted: &DataKey) -> Result<Broker> {
    let program = program("mosquitto")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut params = CertificateParams::new(Vec::new()).context("describing an authority")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "node CA");
    let key = KeyPair::generate().context("generating a key")?;
    let authority = CertifiedIssuer::self_signed(params, key).context("signing the authority")?;
    let [port, open] = [free_port(), free_port()];

    certificate(&authority, folder, ["server.crt", "server.key"], "broker", "localhost")?;
    write(&folder.join("ca.crt"), &authority.pem())?;
    // No bounds of its own: what is lost should be lost by the product.
    let configuration = format!(
        "per_listener_settings true\nmax_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 0\npersistence false\nlog_dest stderr\nlog_type error\nlog_type warning\nuser root\n\
         listener {port} 127.0.0.1\ncafile {0}/ca.crt\ncertfile {0}/server.crt\nkeyfile {0}/server.key\nrequire_certificate true\n\
         use_identity_as_username true\ntls_version tlsv1.3\n\
         listener {open} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n",
        folder.display()
    );
    write(&folder.join("mosquitto.conf"), &configuration)?;

    certificate(&authority, node, [node::TLS_CERTIFICATE, node::TLS_KEY], NODE, NODE)?;
    write(&node.join(node::CA_CERTIFICATE), &authority.pem())?;
    write(&node.join(node::TRUSTED_KEYS), &json!({"keys": [trusted.public_jwk()]}).to_string())?;
    let document = json!({"format": 1, "name": NODE, "mqttBroker": format!("mqtts://localhost:{port}")});
    write(&node.join(node::NODE_DOCUMENT), &document.to_string())?;

    let arguments = ["-c".to_owned(), folder.join("mosquitto.conf").display().to_string()];
    let process = Process::start(folder, "mosquitto", &program, &arguments, &[])?;
    let [mutual, open] = [port, open].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    wait::until("mosquitto to listen", PATIENCE, || {
        process.still_runs()?;
        Ok(TcpStream::connect(open).ok())
    })?;
    Ok(Broker { _process: process, mutual, open })
}

fn certificate(
    authority: &CertifiedIssuer<'static, KeyPair>,
    folder: &Path,
    files: [&str; 2],
    common_name: &str,
    host: &str,
) -> Result<()> {
    let mut params = CertificateParams::new(vec![host.to_owned()]).context("describing a certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().context("generating a key")?;
    let certificate = params.signed_by(&key, authority).context("signing a certificate")?;
    let [certificate_file, key_file] = files;
    write(&folder.join(certificate_file), &certificate.pem())?;
    write(&folder.join(key_file), &key.serialize_pem())
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// From `PATH`, where `cargo xtask bench` puts what it brings along, or where Debian installs it.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed; `cargo xtask bench` brings it along"))
}
