//! Keys and certificates of a sealed node's control plane; made anew for each cluster and gone with it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::KeyPair;

use super::layout::{Layout, NODE_ADDRESS, SERVICE_OF_API_SERVER};
use crate::certificates::{Authority, Pair};

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
    let authority = Authority::generate()?;
    write_file(&layout.pki().join("ca.crt"), authority.certificate())?;
    write_file(&layout.pki().join("ca.key"), &authority.key())?;

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
    write_pair(layout, "apiserver", &authority.issue("kube-apiserver", &[], &names)?)?;
    write_pair(layout, "kubelet-server", &authority.issue(node_name, &[], &[node_name, NODE_ADDRESS])?)?;

    let inside = "https://127.0.0.1:6443";
    let node_user = format!("system:node:{node_name}");
    let clients = CLIENTS.into_iter().chain([("kubelet", node_user.as_str(), "system:nodes")]);
    for (file, user, group) in clients {
        let pair = authority.issue(user, &[group], &[])?;
        write_pair(layout, file, &pair)?;
        write_file(&layout.kubeconfig_inside(file), &authority.kubeconfig(inside, &pair))?;
        if file == "admin" {
            let outside = format!("https://127.0.0.1:{host_port}");
            write_file(&layout.kubeconfig(), &authority.kubeconfig(&outside, &pair))?;
        }
    }

    let accounts = KeyPair::generate().context("generating the key of the service accounts")?;
    write_file(&layout.pki().join("service-accounts.key"), &accounts.serialize_pem())?;
    write_file(&layout.pki().join("service-accounts.pub"), &accounts.public_key_pem())
}

fn write_pair(layout: &Layout, name: &str, pair: &Pair) -> Result<()> {
    write_file(&layout.pki().join(format!("{name}.crt")), &pair.certificate)?;
    write_file(&layout.pki().join(format!("{name}.key")), &pair.key)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
