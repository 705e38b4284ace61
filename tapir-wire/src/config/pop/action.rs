//! What happens to names.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the resolver does with a matching name. The order is that of restriction, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Answered as usual: nothing is published for the name, so that a rule with this action exempts nobody from a stricter one.
    #[serde(rename = "PASSTHRU")]
    Passthru,
    /// Answered over TCP only (`rpz-tcp-only.`).
    #[serde(rename = "TCP-ONLY")]
    TcpOnly,
    /// Answered with what `redirect` says. Format 2.
    Redirect,
    /// The name exists, the type does not (`*.`).
    #[serde(rename = "NODATA")]
    Nodata,
    /// The name does not exist (`.`).
    #[serde(rename = "NXDOMAIN")]
    Nxdomain,
    /// No answer at all (`rpz-drop.`).
    #[serde(rename = "DROP")]
    Drop,
}

/// Action for deny lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deny {
    /// The action.
    pub action: DenyAction,
    /// Where to, with `action: Redirect`. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// With `action: Source`, the action for names whose sources carry none; [`DenyAction::OTHERWISE`] where nothing is said.
    /// Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Action>,
}

impl Deny {
    /// The action of the policy itself.
    #[must_use]
    pub fn own_action(&self) -> Action {
        self.action.action().or(self.otherwise).unwrap_or(DenyAction::OTHERWISE)
    }
}

impl Default for Deny {
    fn default() -> Self {
        Self { action: DenyAction::Nxdomain, redirect: None, otherwise: None }
    }
}

/// [`Action`], or what the source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DenyAction {
    /// Readable, so that its refusal can say what to do instead.
    #[serde(rename = "PASSTHRU")]
    Passthru,
    /// See [`Action::TcpOnly`].
    #[serde(rename = "TCP-ONLY")]
    TcpOnly,
    /// See [`Action::Redirect`]. Format 2.
    Redirect,
    /// See [`Action::Nodata`].
    #[serde(rename = "NODATA")]
    Nodata,
    /// See [`Action::Nxdomain`].
    #[serde(rename = "NXDOMAIN")]
    Nxdomain,
    /// See [`Action::Drop`].
    #[serde(rename = "DROP")]
    Drop,
    /// What the source's own record says; `otherwise` for names whose sources carry no actions. Format 2.
    Source,
}

impl DenyAction {
    /// The action for names of sources that carry none.
    pub const OTHERWISE: Action = Action::Nxdomain;

    /// The action, unless the source says it.
    #[must_use]
    pub const fn action(self) -> Option<Action> {
        Some(match self {
            Self::Passthru => Action::Passthru,
            Self::TcpOnly => Action::TcpOnly,
            Self::Redirect => Action::Redirect,
            Self::Nodata => Action::Nodata,
            Self::Nxdomain => Action::Nxdomain,
            Self::Drop => Action::Drop,
            Self::Source => return None,
        })
    }
}

impl From<Action> for DenyAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Passthru => Self::Passthru,
            Action::TcpOnly => Self::TcpOnly,
            Action::Redirect => Self::Redirect,
            Action::Nodata => Self::Nodata,
            Action::Nxdomain => Self::Nxdomain,
            Action::Drop => Self::Drop,
        }
    }
}

/// What is answered instead. Exactly one of the two is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// The name that the answer leads to (CNAME).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The addresses that are answered (A and AAAA).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}
