//! Who puts sidecars into Pods.

use std::net::{Ipv6Addr, SocketAddr};

use clap::{Args, ValueEnum};

use super::{MissingSetting, required};

/// Settings of injection, each also as an environment variable.
#[derive(Clone, Debug, Args)]
pub(super) struct InjectionArguments {
    /// Who puts sidecars into new Pods.
    #[arg(long, env = "INJECTION", default_value = "Policy", global = true)]
    injection: Mode,
    /// Who makes the bindings of the admission policy.
    #[arg(long, env = "INJECTION_BINDINGS", default_value = "PerEdge", global = true)]
    injection_bindings: Bindings,
    /// The chart's `MutatingAdmissionPolicy`, which each edge's binding names.
    #[arg(long, env = "ADMISSION_POLICY_NAME", default_value = "tapir-operator-inject", global = true)]
    admission_policy_name: String,
    /// Name of the webhook's Service, Secret and `MutatingWebhookConfiguration`.
    #[arg(long, env = "WEBHOOK_NAME", default_value = "tapir-operator-webhook", global = true)]
    webhook_name: String,
    /// Who issues the certificate that the webhook serves.
    #[arg(long, env = "WEBHOOK_CERTIFICATE", default_value = "Own", global = true)]
    webhook_certificate: Issuer,
    /// Names under which API servers ask for the webhook, separated by commas: those of its certificate.
    #[arg(long, env = "WEBHOOK_NAMES", default_value = "", global = true)]
    webhook_names: String,
    /// Address of the webhook.
    #[arg(long, env = "WEBHOOK_LISTEN", default_value = "[::]:9443", global = true)]
    webhook_listen: SocketAddr,
}

/// Who puts sidecars into new Pods. The values are those of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum Mode {
    /// The API server, by an admission policy.
    Policy,
    /// This operator, asked by the API server.
    Webhook,
}

/// Who makes the bindings of the admission policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Bindings {
    /// This operator, one for each edge.
    PerEdge,
    /// The chart, one for all.
    Static,
}

/// Who issues the certificate that the webhook serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Issuer {
    /// This operator.
    Own,
    /// cert-manager.
    CertManager,
}

/// How new Pods get their sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injection {
    /// By the chart's admission policy of this name.
    Policy { name: String, bindings: Bindings },
    /// By this operator.
    Webhook(Webhook),
}

/// Settings of the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Name of Service, Secret and `MutatingWebhookConfiguration`.
    pub name: String,
    /// Names under which API servers ask for it.
    pub names: Vec<String>,
    pub issuer: Issuer,
    pub listen: SocketAddr,
}

impl Default for Injection {
    fn default() -> Self {
        Self::Policy { name: "tapir-operator-inject".to_owned(), bindings: Bindings::PerEdge }
    }
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            name: "tapir-operator-webhook".to_owned(),
            names: Vec::new(),
            issuer: Issuer::Own,
            listen: (Ipv6Addr::UNSPECIFIED, 9443).into(),
        }
    }
}

impl Injection {
    /// The policy whose bindings the operator makes; none where it makes none.
    #[must_use]
    pub fn binds(&self) -> Option<&str> {
        match self {
            Self::Policy { name, bindings: Bindings::PerEdge } => Some(name),
            Self::Policy { bindings: Bindings::Static, .. } | Self::Webhook(_) => None,
        }
    }
}

impl TryFrom<InjectionArguments> for Injection {
    type Error = MissingSetting;

    fn try_from(arguments: InjectionArguments) -> Result<Self, MissingSetting> {
        // Destructured whole, so that a new argument cannot be forgotten here.
        let InjectionArguments {
            injection,
            injection_bindings: bindings,
            admission_policy_name,
            webhook_name,
            webhook_names,
            webhook_certificate: issuer,
            webhook_listen: listen,
        } = arguments;
        Ok(match injection {
            Mode::Policy => Self::Policy { name: required(admission_policy_name, "ADMISSION_POLICY_NAME")?, bindings },
            Mode::Webhook => {
                let names: Vec<String> =
                    webhook_names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
                if names.is_empty() && issuer == Issuer::Own {
                    return Err(MissingSetting("WEBHOOK_NAMES"));
                }
                Self::Webhook(Webhook { name: required(webhook_name, "WEBHOOK_NAME")?, names, issuer, listen })
            }
        })
    }
}
