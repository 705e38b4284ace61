//! Reasons of conditions and Events: part of the interface, since alerts and scripts are written against them.

/// Reason of a condition. The order is that of urgency, most urgent first: what must be acted on stands before what passes by itself.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::AsRefStr,
    strum::Display,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub enum Reason {
    // Data is lost or about to be.
    IdentityLost,
    RescueConflict,
    IdentityInvalid,
    NodeRemoved,
    IdentityRefused,
    Expired,
    Unusable,
    NotYetValid,
    // A change was taken back.
    RolloutHalted,
    // Somebody has to correct something.
    PolicyNotFound,
    PolicyMissing,
    PolicyInvalid,
    SourceMissing,
    ListTooLarge,
    Invalid,
    RefusedByPop,
    RefusedByEdm,
    RefusedByEdge,
    SourceFailed,
    CredentialsMissing,
    CredentialsInvalid,
    CredentialsShared,
    CredentialsUsed,
    CredentialsChanged,
    IdentityMismatch,
    CaBundleInvalid,
    NodemanRefused,
    InjectionInvalid,
    ConfigurationInvalid,
    NameTaken,
    Collision,
    ResolverContainerMissing,
    WellKnownDomainsMissing,
    ImagePullFailed,
    SidecarNotRunning,
    AdmissionSkipped,
    RestartNeeded,
    NoPods,
    // It passes by itself, or the place to look is elsewhere.
    RenewalOverdue,
    NodemanUnreachable,
    NodemanNonsense,
    IdentityUnreachable,
    IdentityContended,
    ReadFailed,
    ApplyFailed,
    EvictionFailed,
    EvictionBlocked,
    TouchFailed,
    FinalizerFailed,
    OffboardFailed,
    Disconnected,
    StatusUnknown,
    SourceStale,
    NamespaceTerminating,
    // Under way.
    Restoring,
    NotEnrolled,
    ReplacingPods,
    UpdatePending,
    Pending,
    Unused,
    // As it was asked for.
    Suspended,
    PopDisabled,
    Enrolled,
    Valid,
    Accepted,
    Injected,
    Connected,
    Ready,
}

/// Who has to care about a condition that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// A person must act, or data is at risk.
    Person,
    /// It passes by itself, though somebody may want to know why it came.
    Passes,
    /// It is under way, or as it was asked for.
    Nobody,
}

impl Reason {
    /// Who has to care, where it makes a condition `False`.
    #[must_use]
    pub fn care(self) -> Care {
        match self {
            reason if reason <= Self::NoPods => Care::Person,
            reason if reason <= Self::NamespaceTerminating => Care::Passes,
            _ => Care::Nobody,
        }
    }
}

/// Reason of an Event. A condition that turns makes an Event with the condition's reason; these are the Events beside them.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::AsRefStr,
    strum::Display,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub enum EventReason {
    /// The certificate was renewed.
    CertificateRenewed,
    /// A node that was enrolled before became this edge.
    IdentityAdopted,
    /// A deleted identity was created anew from its copy.
    IdentityRestored,
    /// The edge became another node; the identity of the former one is archived.
    IdentityReplaced,
    /// Core lists other keys.
    TrustedKeysChanged,
    /// Core lists no key any more: no observation is believed.
    TrustedKeysEmpty,
    /// Running Pods get other images.
    RolloutStarted,
    /// All Pods run them.
    RolloutFinished,
    /// A Pod got its former images back.
    PodPutBack,
    /// No further Pod gets them.
    RolloutHalted,
    /// A Pod was evicted to be created anew, with its sidecars or with others.
    PodEvicted,
    /// Something happened at a sidecar that should not; its log and telemetry have it under the same identifier.
    SidecarTrouble,
    /// The edge is gone; Pods still run the sidecars.
    PodsLeft,
    /// The resource cannot be read.
    Malformed,
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        <&str>::from(reason).to_owned()
    }
}

impl From<EventReason> for String {
    fn from(reason: EventReason) -> Self {
        <&str>::from(reason).to_owned()
    }
}
