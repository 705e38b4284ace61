//! Configuration files and command lines of the components.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::layout::{Layout, NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK, SERVICE_OF_CLUSTER_DNS};
use super::plan::{Component, ResourceGroups};
use crate::tools::NodeTools;

/// Each change of anything in the product's part of the cluster, by whom and with what tool; reads of the control plane itself would
/// only bury them.
pub(crate) const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
  namespaces: [kube-system, kube-node-lease]
- level: None
  userGroups: [system:nodes]
  verbs: [get, list, watch]
- level: None
  users: [system:kube-controller-manager, system:kube-scheduler, system:kube-proxy, system:apiserver]
  verbs: [get, list, watch]
- level: None
  nonResourceURLs: ["/*"]
- level: Metadata
"#;

/// Writes what the components read at start.
pub(crate) fn write(layout: &Layout, pause_image: &str, network_plugins: &str) -> Result<()> {
    let folder = layout.configuration();
    fs::create_dir_all(folder.join("cni")).context("creating the folder of the configuration")?;
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    put("audit-policy.yaml", AUDIT_POLICY)?;
    // Nothing outside can be reached, so nothing outside is asked.
    put("resolv.conf", "")?;
    put("containerd.toml", &containerd(&folder, pause_image, network_plugins))?;
    put("cni/10-tapir.conflist", &network().to_string())?;
    put("kubelet.json", &kubelet(layout).to_string())?;
    put("kube-proxy.json", &kube_proxy(layout).to_string())
}

/// All components, in the order in which they start.
pub(crate) fn components(layout: &Layout, tools: &NodeTools, name: &str, groups: &ResourceGroups) -> Vec<Component> {
    let pki = |file: &str| layout.pki().join(file).display().to_string();
    let configuration = |file: &str| layout.configuration().join(file).display().to_string();
    let kubernetes = |command: &str| tools.kubernetes.join(command);
    let api_server = Some(([127, 0, 0, 1], 6443).into());
    let with_kubeconfig = |flag: &str, user: &str| format!("--{flag}={}", layout.kubeconfig_inside(user).display());
    vec![
        Component::new(
            "etcd",
            &tools.etcd.join("etcd"),
            None,
            vec![
                "--data-dir=/var/lib/etcd".into(),
                "--listen-client-urls=http://127.0.0.1:2379".into(),
                "--advertise-client-urls=http://127.0.0.1:2379".into(),
                "--listen-peer-urls=http://127.0.0.1:2380".into(),
                // What it holds dies with the cluster.
                "--unsafe-no-fsync=true".into(),
                "--log-level=warn".into(),
            ],
        ),
        Component::new(
            "containerd",
            &tools.containerd.join("containerd"),
            None,
            vec![format!("--config={}", configuration("containerd.toml"))],
        ),
        Component::new(
            "kube-apiserver",
            &kubernetes("kube-apiserver"),
            Some(([127, 0, 0, 1], 2379).into()),
            vec![
                "--etcd-servers=http://127.0.0.1:2379".into(),
                format!("--advertise-address={NODE_ADDRESS}"),
                "--bind-address=0.0.0.0".into(),
                format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
                format!("--client-ca-file={}", pki("ca.crt")),
                format!("--tls-cert-file={}", pki("apiserver.crt")),
                format!("--tls-private-key-file={}", pki("apiserver.key")),
                format!("--kubelet-client-certificate={}", pki("apiserver-to-kubelet.crt")),
                format!("--kubelet-client-key={}", pki("apiserver-to-kubelet.key")),
                format!("--kubelet-certificate-authority={}", pki("ca.crt")),
                "--kubelet-preferred-address-types=InternalIP".into(),
                "--authorization-mode=Node,RBAC".into(),
                "--enable-admission-plugins=NodeRestriction".into(),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
                format!("--service-account-key-file={}", pki("service-accounts.pub")),
                format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
                format!("--audit-policy-file={}", configuration("audit-policy.yaml")),
                "--audit-log-path=/var/log/audit.log".into(),
                "--audit-log-maxsize=2000".into(),
                "--profiling=false".into(),
            ],
        ),
        Component::new(
            "kube-controller-manager",
            &kubernetes("kube-controller-manager"),
            api_server,
            vec![
                with_kubeconfig("kubeconfig", "controller-manager"),
                with_kubeconfig("authentication-kubeconfig", "controller-manager"),
                with_kubeconfig("authorization-kubeconfig", "controller-manager"),
                "--leader-elect=false".into(),
                "--use-service-account-credentials=true".into(),
                format!("--root-ca-file={}", pki("ca.crt")),
                format!("--service-account-private-key-file={}", pki("service-accounts.key")),
                format!("--cluster-signing-cert-file={}", pki("ca.crt")),
                format!("--cluster-signing-key-file={}", pki("ca.key")),
                "--profiling=false".into(),
            ],
        ),
        Component::new(
            "kube-scheduler",
            &kubernetes("kube-scheduler"),
            api_server,
            vec![
                with_kubeconfig("kubeconfig", "scheduler"),
                with_kubeconfig("authentication-kubeconfig", "scheduler"),
                with_kubeconfig("authorization-kubeconfig", "scheduler"),
                "--leader-elect=false".into(),
                "--profiling=false".into(),
            ],
        ),
        Component::new(
            "kubelet",
            &kubernetes("kubelet"),
            api_server,
            vec![
                format!("--config={}", configuration("kubelet.json")),
                with_kubeconfig("kubeconfig", "kubelet"),
                format!("--hostname-override={name}"),
                format!("--node-ip={NODE_ADDRESS}"),
                format!("--cgroup-root={}", groups.path()),
            ],
        ),
        Component::new(
            "kube-proxy",
            &kubernetes("kube-proxy"),
            api_server,
            vec![format!("--config={}", configuration("kube-proxy.json")), format!("--hostname-override={name}")],
        ),
    ]
}

fn containerd(folder: &Path, pause_image: &str, network_plugins: &str) -> String {
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
# None of these is used, and each leaves folders or sockets behind.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause_image}"

[plugins."io.containerd.cri.v1.runtime"]
  # Where root lacks CAP_SYS_RESOURCE, runc dies on a negative score.
  restrict_oom_score_adj = true
  # A profile would be loaded into the host's kernel, where it outlives the node.
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{network_plugins}"]
    conf_dir = "{configuration}/cni"
"#,
        configuration = folder.display()
    )
}

fn network() -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "tapir",
        "plugins": [
            {
                // Everything between Pods is routed. On a bridge, answers from one Pod to another would bypass the translation of
                // Service addresses unless the host has br_netfilter loaded, which the node must not do for it. Nothing leaves
                // the node, so nothing is masqueraded either: Pods see each other's own addresses.
                "type": "ptp",
                "ipMasq": false,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_NETWORK}]], "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet(layout: &Layout) -> serde_json::Value {
    let pki = |file: &str| layout.pki().join(file);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": pki("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki("kubelet-server.crt"),
        "tlsPrivateKeyFile": pki("kubelet-server.key"),
        "clusterDNS": [SERVICE_OF_CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": layout.configuration().join("resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        // A test machine's disk may be nearly full for reasons of its own, and images cannot be had again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "volumePluginDir": "/var/lib/kubelet/plugins-exec",
        "maxPods": 200,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "nodeStatusUpdateFrequency": "5s",
        "enableDebuggingHandlers": true,
    })
}

fn kube_proxy(layout: &Layout) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": layout.kubeconfig_inside("kube-proxy")},
        "clusterCIDR": POD_NETWORK,
        // These are settings of the whole kernel, not of the node's namespace: leave them alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": ["primary"],
    })
}
