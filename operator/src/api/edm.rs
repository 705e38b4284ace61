//! `spec.edm`: the sidecar that minimises what the resolver saw.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::edge::TelemetrySpec;
use super::references::ConfigMapKey;
use super::resources::{Limits, Resources};
use super::schema::image_rule;

/// The sidecar EDM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdmSpec {
    /// Whether new Pods get it. Switched off, it sends nothing in running Pods either.
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// Its image. Default: the operator's own release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = image_rule())]
    pub image: Option<String>,
    /// Names that are no news. Without a list only names of the loop test make events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_known_domains: Option<WellKnownDomains>,
    /// Clients whose answers are left out of everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "ignored_clients")]
    pub ignored_clients: Vec<String>,
    /// Names whose answers are left out of everything: `host.example.` is that name alone, `.example.` everything below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 2, max = 255), regex(pattern = IGNORED_NAME)))]
    pub ignored_names: Vec<String>,
    /// Types of dnstap messages that count. Anything but `CLIENT_RESPONSE` counts the resolver's own questions as a client's; `ALL_RESPONSES`,
    /// alone, counts as upstream's EDM does.
    #[serde(default = "default_counted_types")]
    #[schemars(schema_with = "counted_types")]
    pub counted_types: Vec<String>,
    /// What Core is told of known names each minute.
    #[serde(default)]
    pub histograms: HistogramsSpec,
    /// What Core is told of new names.
    #[serde(default)]
    pub events: EventsSpec,
    /// Files with each answer and pseudonyms of its clients. They stay in the Pod.
    #[serde(default)]
    pub sessions: SessionsSpec,
    /// What Core is told of EDM itself.
    #[serde(default)]
    pub telemetry: TelemetrySpec,
    /// What may be kept on disk.
    #[serde(default)]
    pub storage: StorageSpec,
    /// Compute resources of the container.
    #[serde(default)]
    pub resources: Resources,
}

/// Names that are no news.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.configMapRef) != has(self.https)",
    "spec.edm.wellKnownDomains needs exactly one of configMapRef and https"
))]
pub struct WellKnownDomains {
    /// A DAWG file in the `binaryData` of a ConfigMap, which holds 1 MiB; larger ones come by HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// A DAWG file, by HTTPS. Each EDM fetches it once and keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsList>,
}

/// A list that a server has, pinned: what changes there is another list, which another hash names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
pub struct HttpsList {
    /// Where it is fetched. The certificate of the server is checked against the CAs of EDM's image.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = (
        "isURL(self) && self.startsWith('https://') && url(self).getHostname() != ''",
        "https.url is no https URL"
    ))]
    pub url: String,
    /// SHA-256 of the file, in lower-case hexadecimal digits; anything else is refused, and the list before it stays.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// What Core is told of known names each minute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistogramsSpec {
    /// Whether the sketches of clients are left out. A sketch lets Core test whether an address that it guesses was among the clients.
    #[serde(default)]
    pub counts_only: bool,
    /// Up to how many clients of a name and a minute its sketch is left out.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 131_072))]
    pub threshold: u32,
}

/// What Core is told of new names. Names that carry addresses or belong to the site make no events unless this says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsSpec {
    /// Names in reverse zones too.
    #[serde(default)]
    pub reverse_zones: bool,
    /// Names below `home.arpa` too.
    #[serde(default)]
    pub home_arpa: bool,
    /// Names below `localhost` too.
    #[serde(default)]
    pub localhost: bool,
    /// Names below `local` too.
    #[serde(default)]
    pub local: bool,
    /// Names in other zones of special use, and of a single label, too.
    #[serde(default)]
    pub special_use: bool,
    /// Names too that have the asking client's address in them.
    #[serde(default)]
    pub client_addresses: bool,
}

/// Files with each answer and pseudonyms of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionsSpec {
    /// Whether they are written: a row for each answer whose name is not well known. The default limit of memory is then 384Mi.
    #[serde(default)]
    pub enabled: bool,
}

/// What may be kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// Bound of everything that EDM keeps, in whole MiB or GiB from 64Mi to 1024Gi.
    #[serde(default = "default_size")]
    #[schemars(length(max = 8), regex(pattern = "^[1-9][0-9]{0,6}(Mi|Gi)$"))]
    #[x_kube(validation = (
        "quantity(self).compareTo(quantity('64Mi')) >= 0 && quantity(self).compareTo(quantity('1024Gi')) <= 0",
        "spec.edm.storage.size is not between 64Mi and 1024Gi: write one such as 2Gi"
    ))]
    pub size: String,
}

impl StorageSpec {
    /// The size in MiB.
    #[must_use]
    pub fn mebibytes(&self) -> Option<u32> {
        let (number, factor) = match self.size.strip_suffix("Gi") {
            Some(number) => (number, 1024),
            None => (self.size.strip_suffix("Mi")?, 1),
        };
        number.parse::<u32>().ok()?.checked_mul(factor)
    }
}

/// Limit of memory where session files are written and nobody has said another.
const MEMORY_WITH_SESSIONS: &str = "384Mi";

/// A name with its final dot, and a dot in front where it stands for what is below it. What the schema takes EDM takes too.
const IGNORED_NAME: &str = r"^\.?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+$";

fn ignored_clients(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 1000,
        "items": {
            "type": "string",
            "maxLength": 49,
            "x-kubernetes-validations": [{
                "rule": "isCIDR(self)",
                "message": "spec.edm.ignoredClients has an entry that is no prefix: write one such as 192.0.2.0/24 or 2001:db8::1/128"
            }]
        }
    })
}

fn counted_types(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 7,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": [{
            "rule": "!('ALL_RESPONSES' in self) || self.size() == 1",
            "message": "spec.edm.countedTypes has ALL_RESPONSES and others: write it alone"
        }],
        "items": {
            "type": "string",
            "enum": [
                "ALL_RESPONSES", "AUTH_RESPONSE", "RESOLVER_RESPONSE", "CLIENT_RESPONSE", "FORWARDER_RESPONSE", "STUB_RESPONSE",
                "TOOL_RESPONSE", "UPDATE_RESPONSE"
            ]
        }
    })
}

impl Default for EdmSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            image: None,
            well_known_domains: None,
            ignored_clients: Vec::new(),
            ignored_names: Vec::new(),
            counted_types: default_counted_types(),
            histograms: HistogramsSpec::default(),
            events: EventsSpec::default(),
            sessions: SessionsSpec::default(),
            telemetry: TelemetrySpec::default(),
            storage: StorageSpec::default(),
            resources: Resources::default(),
        }
    }
}

impl EdmSpec {
    /// Whether there are pseudonyms to be made.
    #[must_use]
    pub const fn makes_pseudonyms(&self) -> bool {
        self.enabled && self.sessions.enabled
    }

    /// Compute resources in force. Session files and the key of their pseudonyms need memory of their own; a limit that somebody chose stays,
    /// unless it is the usual one: the API server writes that into every resource, so nobody can tell who did.
    #[must_use]
    pub fn resources(&self) -> Resources {
        let mut resources = self.resources.clone();
        if self.makes_pseudonyms() && resources.limits.memory == Limits::default().memory {
            resources.limits.memory = MEMORY_WITH_SESSIONS.to_owned();
        }
        resources
    }
}

impl Default for HistogramsSpec {
    fn default() -> Self {
        Self { counts_only: false, threshold: default_threshold() }
    }
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self { size: default_size() }
    }
}

const fn default_true() -> bool {
    true
}

const fn default_threshold() -> u32 {
    20
}

fn default_size() -> String {
    "2Gi".to_owned()
}

fn default_counted_types() -> Vec<String> {
    vec!["CLIENT_RESPONSE".to_owned()]
}
