//! Keys and certificates of a sealed node's control plane; made anew for each cluster and gone with it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

use super::layout::{Layout, NODE_ADDRESS, SERVICE_OF_API_SERVER};

/// Who talks to the API server: file name, common name, organisation (Kubernetes' user and group).
const CLIENTS: [(&str, &str, &str); 5] = [
    ("admin", "kubernetes-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", "system:kube-controller-manager"),
    ("scheduler", "system:kube-scheduler", "system:kube-scheduler"),
    ("kube-proxy", "system:kube-proxy", "system:node-proxier"),
    ("apiserver-to-kubelet", "apiserver-to-kubelet", "system:masters"),
];

/// Writes all keys, certificates and kubeconfig files. `host_port` is where the API server is reached from the host.
pub(crate) fn write(layout: &Layout, node_name: &str, host_port: u16) -> Result<()> {
    fs::create_dir_all(layout.pki()).context("creating the folder of the certificates")?;
    let authority_key = KeyPair::generate().context("generating the authority's key")?;
    let authority_params = authority()?;
    let authority = authority_params.self_signed(&authority_key).context("signing the authority")?.pem();
    let issuer = Issuer::new(authority_params, authority_key);
    write_file(&layout.pki().join("ca.crt"), &authority)?;
    write_file(&layout.pki().join("ca.key"), &issuer.key().serialize_pem())?;

    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        NODE_ADDRESS,
        SERVICE_OF_API_SERVER,
    ];
    let (certificate, key) = issue(&issuer, "kube-apiserver", None, &names)?;
    write_pair(layout, "apiserver", &certificate, &key)?;
    let (certificate, key) = issue(&issuer, node_name, None, &[node_name, NODE_ADDRESS])?;
    write_pair(layout, "kubelet-server", &certificate, &key)?;

    let inside = "https://127.0.0.1:6443".to_owned();
    let node_user = format!("system:node:{node_name}");
    let clients = CLIENTS.into_iter().chain([("kubelet", node_user.as_str(), "system:nodes")]);
    for (file, user, group) in clients {
        let (certificate, key) = issue(&issuer, user, Some(group), &[])?;
        write_pair(layout, file, &certificate, &key)?;
        write_file(&layout.kubeconfig_inside(file), &kubeconfig(&inside, &authority, &certificate, &key))?;
        if file == "admin" {
            let outside = format!("https://127.0.0.1:{host_port}");
            write_file(&layout.kubeconfig(), &kubeconfig(&outside, &authority, &certificate, &key))?;
        }
    }

    let accounts = KeyPair::generate().context("generating the key of the service accounts")?;
    write_file(&layout.pki().join("service-accounts.key"), &accounts.serialize_pem())?;
    write_file(&layout.pki().join("service-accounts.pub"), &accounts.public_key_pem())
}

fn authority() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("describing the authority")?;
    params.distinguished_name.push(DnType::CommonName, "tapir test cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn issue(issuer: &Issuer<'_, KeyPair>, user: &str, group: Option<&str>, names: &[&str]) -> Result<(String, String)> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).with_context(|| format!("describing {user}"))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().with_context(|| format!("generating the key of {user}"))?;
    let certificate = params.signed_by(&key, issuer).with_context(|| format!("signing {user}"))?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// JSON is YAML; kubectl and client libraries read either.
fn kubeconfig(server: &str, authority: &str, certificate: &str, key: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tapir",
        "clusters": [{"name": "tapir", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(authority)}}],
        "users": [{"name": "tapir", "user": {
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        }}],
        "contexts": [{"name": "tapir", "context": {"cluster": "tapir", "user": "tapir"}}],
    })
    .to_string()
}

fn write_pair(layout: &Layout, name: &str, certificate: &str, key: &str) -> Result<()> {
    write_file(&layout.pki().join(format!("{name}.crt")), certificate)?;
    write_file(&layout.pki().join(format!("{name}.key")), key)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
