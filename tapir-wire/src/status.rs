//! `GET /status` of a sidecar: versioned JSON that the operator reads. It never carries names of the DNS or addresses of clients.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a sidecar says of itself. Readers ignore members that they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarStatus {
    /// Version of this document, [`SidecarStatus::FORMAT`].
    pub format: u32,
    /// `edm` or `pop`.
    pub component: String,
    /// Version of the sidecar.
    pub version: String,
    /// Commit that it was built from.
    pub commit: String,
    /// Start of the worker process.
    pub started_at: Timestamp,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// The identity in force; absent until one was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStatus>,
    /// Why the newest identity was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_error: Option<String>,
    /// Connection to Core's broker.
    pub core: CoreStatus,
    /// Of EDM only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edm: Option<EdmStatus>,
    /// Of POP only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pop: Option<PopStatus>,
}

impl SidecarStatus {
    /// The version that this build writes.
    pub const FORMAT: u32 = 1;
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// `revision` of the file in force; empty while none is.
    pub revision: String,
    /// When it came into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<Timestamp>,
    /// Sending to Core is switched off by configuration.
    #[serde(default)]
    pub disabled: bool,
    /// Why the newest file was refused, if it was. Names keys and lines, never list contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The identity in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Node name.
    pub node: String,
    /// Serial of the certificate, decimal.
    pub certificate_serial: String,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// Connection to Core's broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreStatus {
    /// Connected at this moment (and subscribed, for POP).
    pub connected: bool,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Last reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Serial of the certificate, decimal, that the present connection was made with; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_serial: Option<String>,
}

/// Counters of EDM since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdmStatus {
    /// dnstap connections open now.
    pub connections: u64,
    /// dnstap frames taken.
    pub frames: u64,
    /// Events acknowledged by the broker.
    pub events_sent: u64,
    /// Events that wait.
    pub events_queued: u64,
    /// Events lost to a full queue.
    pub events_dropped: u64,
    /// Words in the list of well-known domains; absent without a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_known_domains: Option<u64>,
    /// Words in the list of names that are left out; absent without a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_names: Option<u64>,
    /// Prefixes in the list of clients that are left out.
    #[serde(default)]
    pub ignored_clients: u64,
    /// Frames read and dropped, because the work on others took too long.
    #[serde(default)]
    pub frames_dropped: u64,
    /// Histograms of well-known domains.
    #[serde(default)]
    pub aggregates: AggregateStatus,
    /// Files of whole answers, which stay where they are.
    #[serde(default)]
    pub sessions: SessionStatus,
    /// What the large parts of memory hold.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// What happened that should not, the newest last; the same identifiers are in the log, and in what Core is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<EventStatus>,
    /// Events on their way to Core.
    #[serde(default)]
    pub events: NewNameStatus,
    /// What the data folder holds.
    #[serde(default)]
    pub storage: StorageStatus,
    /// Ends of the certificates in force.
    #[serde(default)]
    pub certificates: CertificateEnds,
}

/// Events of new names on their way to Core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewNameStatus {
    /// Octets on disk of those that wait.
    pub queued_octets: u64,
    /// When the broker last acknowledged one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<Timestamp>,
    /// Events that were lost, and names that were held back and may come later, by why. Those that never were are left out.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// What the data folder holds, as of the last look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The data folder.
    pub folder: String,
    /// What all of it may hold in octets, where that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<u64>,
    /// Its folders and their octets.
    pub folders: BTreeMap<String, u64>,
    /// Histogram files that Core refused for good and that are kept apart.
    pub refused_files: u64,
}

/// Ends of the certificates in force; absent where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateEnds {
    /// Shown to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Timestamp>,
    /// Shown to the receiver of aggregates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregates: Option<Timestamp>,
    /// Shown to resolvers, where the input is TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Timestamp>,
}

/// Files of whole answers with pseudonyms, which stay where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// Whether they are wanted.
    pub enabled: bool,
    /// Whether there is a key for pseudonyms; without it no row is written.
    pub key: bool,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Rows in finished files.
    pub rows: u64,
    /// Rows that are in none.
    pub rows_dropped: u64,
    /// Octets of the files that are there.
    pub octets: u64,
    /// Files that had to go: too old, no room.
    pub files_dropped: u64,
}

/// Histograms of well-known domains on their way to Core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AggregateStatus {
    /// Files written.
    pub written: u64,
    /// Files that Core has.
    pub sent: u64,
    /// Files that wait.
    pub waiting: u64,
    /// Their octets.
    pub waiting_octets: u64,
    /// Files and minutes that were lost: too old, no room, a disk that took none.
    pub lost: u64,
    /// When Core last took one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<Timestamp>,
    /// Why the newest try to send failed; absent after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The newest refusal for good, until Core takes a file again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What the large parts of memory hold, in octets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStatus {
    /// What all of them may hold; beyond it no sketch is begun.
    pub bound: u64,
    /// What all of them hold.
    pub used: u64,
    /// Lists of names.
    pub lists: u64,
    /// Rows of the present minute.
    pub rows: u64,
    /// Sketches of the present minute.
    pub sketches: u64,
    /// Sketches given up for want of room.
    pub sketches_lost: u64,
    /// Names remembered as seen (a number).
    pub seen_names: u64,
    /// Set aside for session files; 0 without them.
    #[serde(default)]
    pub sessions: u64,
    /// The table that they are remembered in.
    #[serde(default)]
    pub seen_table: u64,
}

/// The zone and its sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopStatus {
    /// Zone name.
    pub zone: String,
    /// Serial that is served.
    pub serial: u32,
    /// Policy records in the zone.
    pub records: u64,
    /// One row for each source.
    pub sources: Vec<SourceStatus>,
    /// Last observation with the tag `looptest`: proof that Core reaches this POP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_looptest: Option<Timestamp>,
    /// What is wrong with this POP itself: an address that cannot be bound, kept state that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Settings that Core sent, where they are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_settings: Option<CoreSettingsStatus>,
    /// What happened that should not, the newest last; the same identifiers are in the log, and in what Core is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventStatus>,
}

/// Settings that Core sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreSettingsStatus {
    /// What Core calls the version in force; empty before the first.
    pub version: String,
    /// Topics in force that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// Why the newest message changed nothing, or not all that it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something that happened and should not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventStatus {
    /// Tells it from all others, everywhere.
    pub id: String,
    /// When it was noticed.
    pub time: Timestamp,
    /// The part of the sidecar; one that upstream has too by upstream's name.
    pub component: String,
    /// What happened.
    pub message: String,
}

/// One source of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name in the policy.
    pub name: String,
    /// How it is with it.
    #[serde(default)]
    pub state: SourceState,
    /// Names it holds.
    pub entries: u64,
    /// Entries that were refused.
    pub rejected: u64,
    /// The first [`SourceStatus::MOST_REJECTED_LINES`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_lines: Vec<RejectedLine>,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// The version that the source gave what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Seconds since the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// When what it holds stops to count, unless it is reached before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Why it has no fresh data, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SourceStatus {
    /// Refused entries that are told one by one.
    pub const MOST_REJECTED_LINES: usize = 10;
}

/// How it is with a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SourceState {
    /// What it holds is what there is.
    Ready,
    /// Nothing came yet.
    Pending,
    /// Something newer is there and could not be taken: what it held before stays.
    Stale,
    /// It holds nothing, because of an error.
    Failed,
    /// A state that the reader does not know, or that an older sidecar does not tell.
    #[default]
    #[serde(other)]
    Unknown,
}

/// An entry that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedLine {
    /// Line of the file, or place in the list, from 1.
    pub line: u64,
    /// Why. Never what stands there.
    pub reason: String,
}
