//! How an edge becomes a node of DNS TAPIR Core and stays one: enrolment, the way to Core, the certificate.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::references::{CaKey, SecretKey};
use super::schema::OBJECT_NAME;

/// How the node is enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.credentialsSecretRef) != has(self.existingIdentitySecretRef)",
    "give exactly one of credentialsSecretRef (a new node) and existingIdentitySecretRef (a node that was enrolled before)"
))]
pub struct EnrollmentSpec {
    /// The enrolment credentials of a new node, as received from Core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretKey>,
    /// The data key of a node that was enrolled before, as on a VM. Nothing else may use that identity any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_identity_secret_ref: Option<ExistingIdentity>,
}

/// A Secret of the same namespace with the data key of a node that was enrolled before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExistingIdentity {
    /// Name of the Secret. It holds the private data key (JWK) under one of `datakey-priv.json`, `data.json` and `datakey.jwk`, and
    /// may hold `cryptopan.key`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Base URL of nodeman. Default: the member `iss` of the data key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = ("isURL(self) && url(self).getScheme() == 'https'", "nodemanUrl is no https URL"))]
    pub nodeman_url: Option<String>,
}

/// How Core is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreSpec {
    /// Trust anchors for Core's HTTPS services. Default: those of the operator's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// Trust anchors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// PEM certificates in a ConfigMap.
    pub config_map_ref: CaKey,
}

/// The node's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The share of its lifetime after which the certificate is renewed, less up to 10 % of the lifetime so that a fleet does not
    /// renew all at once.
    #[serde(default = "default_renew_at")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = (
        "self.matches('^([2-7][0-9]|80)%$')",
        "spec.certificate.renewAt is no share of the lifetime from 20% to 80%: write one such as 66%"
    ))]
    pub renew_at: String,
    /// The lifetime to ask Core for, in hours or minutes. Default: what Core gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = (
        "self.matches('^[0-9]{1,5}(h|m)$') && duration(self) >= duration('10m') && duration(self) <= duration('8784h')",
        "spec.certificate.requestedLifetime is not between 10m and 8784h: write one such as 720h, or leave it out"
    ))]
    pub requested_lifetime: Option<String>,
}

impl Default for CertificateSpec {
    fn default() -> Self {
        Self { renew_at: default_renew_at(), requested_lifetime: None }
    }
}

fn default_renew_at() -> String {
    "66%".to_owned()
}
