//! Command line as typed ([`Arguments`]) and as meant ([`Settings`]).

mod injection;
mod rollout;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::{Client, Resource};

use self::injection::InjectionArguments;
pub use self::injection::{Bindings, Injection, Issuer, Webhook};
pub use self::rollout::Rollout;
use self::rollout::RolloutArguments;

/// Operator of DNS TAPIR Edge.
#[derive(Debug, Parser)]
#[command(name = "tapir-operator", version = tapir_version::LONG)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArguments,
}

/// What to do; `run` when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run,
    /// Print the custom resource definitions as YAML.
    Crds,
}

/// Settings of `run`, each also as an environment variable.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Image of the EDM sidecar.
    #[arg(long, env = "EDM_IMAGE", default_value = "", global = true)]
    edm_image: String,
    /// Image of the POP sidecar.
    #[arg(long, env = "POP_IMAGE", default_value = "", global = true)]
    pop_image: String,
    /// Namespaces to serve, separated by commas; empty means all.
    #[arg(long, env = "WATCH_NAMESPACES", default_value = "", global = true)]
    watch_namespaces: String,
    /// Name of this Pod, the identity in the leader's lease.
    #[arg(long, env = "POD_NAME", default_value = "", global = true)]
    pod_name: String,
    /// Namespace of this Pod, where the lease is kept.
    #[arg(long, env = "POD_NAMESPACE", default_value = "", global = true)]
    pod_namespace: String,
    /// Name of the lease. Two operators that have one in common take turns, so those that serve different namespaces need two.
    #[arg(long, env = "LEASE_NAME", default_value = "tapir-operator", global = true)]
    lease_name: String,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    #[arg(long, env = "HTTP_LISTEN", default_value = "[::]:8080", global = true)]
    http_listen: SocketAddr,
    #[command(flatten)]
    injection: InjectionArguments,
    #[command(flatten)]
    rollout: RolloutArguments,
}

/// Settings of a running operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub edm_image: String,
    pub pop_image: String,
    pub scope: Scope,
    pub pod_name: String,
    pub pod_namespace: String,
    pub lease_name: String,
    pub http_listen: SocketAddr,
    pub injection: Injection,
    pub rollout: Rollout,
    /// Calls to Core, all edges together.
    pub core_requests_per_second: u32,
}

/// Which namespaces are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    AllNamespaces,
    Namespaces(Vec<String>),
}

/// A setting without which the operator cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} is not set")]
pub struct MissingSetting(&'static str);

impl TryFrom<RunArguments> for Settings {
    type Error = MissingSetting;

    fn try_from(arguments: RunArguments) -> Result<Self, MissingSetting> {
        // Destructured whole, so that a new argument cannot be forgotten here.
        let RunArguments {
            edm_image,
            pop_image,
            watch_namespaces,
            pod_name,
            pod_namespace,
            lease_name,
            http_listen,
            injection,
            rollout,
        } = arguments;
        let (rollout, core_requests_per_second) = rollout.split();
        Ok(Self {
            edm_image: required(edm_image, "EDM_IMAGE")?,
            pop_image: required(pop_image, "POP_IMAGE")?,
            scope: Scope::parse(&watch_namespaces),
            pod_name: required(pod_name, "POD_NAME")?,
            pod_namespace: required(pod_namespace, "POD_NAMESPACE")?,
            lease_name: required(lease_name, "LEASE_NAME")?,
            http_listen,
            injection: injection.try_into()?,
            rollout,
            core_requests_per_second,
        })
    }
}

impl Scope {
    /// One API for each namespace, or one for all, which has an empty name.
    #[must_use]
    pub fn apis<K>(&self, client: &Client) -> Vec<(&str, Api<K>)>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::AllNamespaces => vec![("", Api::all(client.clone()))],
            Self::Namespaces(names) => names.iter().map(|name| (name.as_str(), Api::namespaced(client.clone(), name))).collect(),
        }
    }

    fn parse(text: &str) -> Self {
        let mut namespaces: Vec<String> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() { Self::AllNamespaces } else { Self::Namespaces(namespaces) }
    }
}

fn required(value: String, name: &'static str) -> Result<String, MissingSetting> {
    if value.is_empty() { Err(MissingSetting(name)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_a_set() {
        assert_eq!(Scope::parse(" b, a,,b"), Scope::Namespaces(vec!["a".into(), "b".into()]));
        assert_eq!(Scope::parse(" ,"), Scope::AllNamespaces);
    }

    const ENOUGH: [&str; 9] =
        ["tapir-operator", "--edm-image", "edm", "--pop-image", "pop", "--pod-name", "p", "--pod-namespace", "system"];

    fn settings(more: &[&str]) -> Result<Settings, MissingSetting> {
        Settings::try_from(Arguments::parse_from(ENOUGH.iter().chain(more)).run)
    }

    #[test]
    fn a_missing_setting_is_named() {
        let arguments = Arguments::parse_from(["tapir-operator", "--edm-image", "edm", "--pop-image", "pop", "--pod-name", "p"]);
        assert_eq!(Settings::try_from(arguments.run), Err(MissingSetting("POD_NAMESPACE")));
    }

    #[test]
    fn what_the_chart_leaves_alone_has_the_chart_s_defaults() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.injection, Injection::default());
        assert_eq!(settings.rollout, Rollout::default());
        assert_eq!(settings.core_requests_per_second, 10);
        assert_eq!(settings.injection.binds(), Some("tapir-operator-inject"));
    }

    #[test]
    fn the_chart_s_values_are_read() {
        let webhook = settings(&["--injection", "Webhook", "--webhook-certificate", "CertManager"]).unwrap().injection;
        assert_eq!(webhook, Injection::Webhook(Webhook { issuer: Issuer::CertManager, ..Webhook::default() }));
        assert_eq!(webhook.binds(), None);
        assert_eq!(settings(&["--injection-bindings", "Static"]).unwrap().injection.binds(), None);
        assert_eq!(settings(&["--injection", "Webhook"]), Err(MissingSetting("WEBHOOK_NAMES")));
        let canaries = r#"{"matchLabels":{"ring":"first"}}"#;
        let rollout =
            settings(&["--rollout-canary-selector", canaries, "--rollout-canary-soak", "1h30m", "--rollout-pre-pull", "true"]);
        let rollout = rollout.unwrap().rollout;
        assert_eq!(rollout.canaries.map(|canaries| canaries.to_string()).as_deref(), Some("ring=first"));
        assert!(rollout.canary_soak == std::time::Duration::from_mins(90) && rollout.pre_pull);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = [
            ["--rollout-canary-selector", r#"{"matchExpressions":[{"key":"a","operator":"Near"}]}"#],
            ["--rollout-canary-soak", "-1m"],
            ["--rollout-max-concurrent-edges", "0"],
            ["--injection", "policy"],
        ];
        for more in refused {
            assert!(Arguments::try_parse_from(ENOUGH.iter().chain(&more)).is_err(), "{more:?}");
        }
    }
}
