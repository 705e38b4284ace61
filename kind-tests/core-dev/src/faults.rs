//! Ways in which this Core can be told to misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::message::{Answer, Request};

/// Nodes that may have a fault of their own.
const MAXIMUM_NODES: usize = 10_000;

/// One way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// As it should be.
    #[default]
    None,
    /// The HTTPS ports refuse connections and the bridge is away; what is in memory stays.
    Offline,
    /// POST requests are carried out, then the connection ends without an answer.
    LoseAnswer,
    /// 200 with a page of HTML, as a captive portal or a wrong route gives.
    Nonsense,
    /// Every request is refused for good.
    Refuse,
    /// Connections are accepted, and nothing ever comes back.
    Unreachable,
    /// Requests are carried out when they come, and answered this many seconds later.
    Slow(u16),
    /// POST requests are answered with this status, and not carried out.
    Status(u16),
    /// Requests are carried out, and the answer does not say where the result is.
    NoLocation,
}

/// Every name of a fault, for people.
pub const NAMES: &str = "none, offline, lose-answer, nonsense, refuse, unreachable, slow:SECONDS, status:NUMBER, no-location";

impl Fault {
    /// By its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "offline" => Self::Offline,
            "lose-answer" => Self::LoseAnswer,
            "nonsense" => Self::Nonsense,
            "refuse" => Self::Refuse,
            "unreachable" => Self::Unreachable,
            "no-location" => Self::NoLocation,
            other => match other.split_once(':')? {
                ("slow", seconds) => Self::Slow(seconds.parse().ok()?),
                ("status", number) => Self::Status(number.parse().ok().filter(|number| (200..600).contains(number))?),
                _ => return None,
            },
        })
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Offline => "offline".into(),
            Self::LoseAnswer => "lose-answer".into(),
            Self::Nonsense => "nonsense".into(),
            Self::Refuse => "refuse".into(),
            Self::Unreachable => "unreachable".into(),
            Self::Slow(seconds) => format!("slow:{seconds}"),
            Self::Status(number) => format!("status:{number}"),
            Self::NoLocation => "no-location".into(),
        }
    }

    /// Whether it can befall one node alone: a port is closed to all or to none.
    #[must_use]
    pub fn is_for_one(self) -> bool {
        self != Self::Offline
    }

    /// How long the answer is held back.
    #[must_use]
    pub fn delay(self) -> Option<Duration> {
        match self {
            Self::Slow(seconds) => Some(Duration::from_secs(seconds.into())),
            _ => None,
        }
    }

    /// The answer that this fault gives in place of the service's, if it does.
    #[must_use]
    pub fn answer(self, request: &Request) -> Option<Answer> {
        match self {
            Self::Nonsense => Some(Answer::content(200, "text/html", "<!DOCTYPE html><title>Welcome</title><p>It works!</p>")),
            Self::Refuse => Some(match (request.method.as_str(), request.path().rsplit('/').next()) {
                ("POST", Some("enroll")) => Answer::detail(401, "Invalid enrollment signature"),
                ("POST", Some("renew")) => Answer::detail(401, "Invalid data signature"),
                ("POST", _) => Answer::detail(401, "Invalid HTTP signature"),
                _ => Answer::detail(404, "Not Found"),
            }),
            Self::Status(number) if request.method == "POST" => Some(Answer::detail(number, "As a test wants it")),
            Self::None
            | Self::Offline
            | Self::LoseAnswer
            | Self::Unreachable
            | Self::Slow(_)
            | Self::Status(_)
            | Self::NoLocation => None,
        }
    }

    /// The service's answer, as far as this fault lets it through.
    #[must_use]
    pub fn changed(self, mut answer: Answer) -> Answer {
        if self == Self::NoLocation {
            answer.headers.retain(|(name, _)| name != "location");
        }
        answer
    }

    /// Whether the answer to this request is to be lost.
    #[must_use]
    pub fn loses(self, request: &Request) -> bool {
        self == Self::LoseAnswer && request.method == "POST"
    }
}

/// The faults in force, to be set and to be waited for. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    sender: watch::Sender<InForce>,
}

#[derive(Debug, Default)]
struct InForce {
    all: Fault,
    /// In place of the one for all.
    nodes: BTreeMap<String, Fault>,
}

impl InForce {
    fn of(&self, node: Option<&str>) -> Fault {
        node.and_then(|node| self.nodes.get(node)).copied().unwrap_or(self.all)
    }
}

/// Why a fault was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// A port is closed to all or to none.
    #[error("offline is for all nodes")]
    ForAll,
    /// Nobody needs so many; what is kept for tests is bounded, too.
    #[error("more than {MAXIMUM_NODES} nodes have a fault of their own")]
    TooMany,
}

impl Faults {
    /// What is in force for every node without a fault of its own.
    #[must_use]
    pub fn current(&self) -> Fault {
        self.sender.borrow().all
    }

    /// What a request by or about this node meets.
    #[must_use]
    pub fn of(&self, node: Option<&str>) -> Fault {
        self.sender.borrow().of(node)
    }

    /// Nodes with a fault of their own, by name.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<String, Fault> {
        self.sender.borrow().nodes.clone()
    }

    /// Sets another for all; nodes with one of their own keep it.
    pub fn set(&self, fault: Fault) {
        self.sender.send_modify(|in_force| in_force.all = fault);
    }

    /// Sets one node's own fault. `none` exempts it from what befalls all; without a fault it goes with all again.
    ///
    /// # Errors
    /// When the fault cannot be one node's, or there are too many.
    pub fn set_for(&self, node: &str, fault: Option<Fault>) -> Result<(), FaultError> {
        let mut result = Ok(());
        self.sender.send_modify(|in_force| match fault {
            None => drop(in_force.nodes.remove(node)),
            Some(fault) if !fault.is_for_one() => result = Err(FaultError::ForAll),
            Some(_) if in_force.nodes.len() >= MAXIMUM_NODES && !in_force.nodes.contains_key(node) => {
                result = Err(FaultError::TooMany);
            }
            Some(fault) => drop(in_force.nodes.insert(node.to_owned(), fault)),
        });
        result
    }

    /// Returns as soon as the fault in force for all pleases `wanted`.
    pub async fn wait_until(&self, wanted: impl Fn(Fault) -> bool) {
        self.wait_until_of(None, wanted).await;
    }

    /// Returns as soon as the fault in force for this node pleases `wanted`.
    pub async fn wait_until_of(&self, node: Option<&str>, wanted: impl Fn(Fault) -> bool) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.sender.subscribe().wait_for(|in_force| wanted(in_force.of(node))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for name in NAMES.replace("SECONDS", "3").replace("NUMBER", "500").split(", ") {
            assert_eq!(Fault::named(name).map(Fault::name).as_deref(), Some(name));
        }
        for bad in ["", "slow", "slow:", "slow:-1", "slow:x", "status:", "status:199", "status:600", "Offline"] {
            assert_eq!(Fault::named(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_node_can_have_a_fault_of_its_own() {
        let faults = Faults::default();
        faults.set_for("a", Some(Fault::Refuse)).unwrap();
        assert_eq!([faults.of(Some("a")), faults.of(Some("b")), faults.of(None)], [Fault::Refuse, Fault::None, Fault::None]);
        faults.set(Fault::Slow(3));
        faults.set_for("a", Some(Fault::None)).unwrap();
        assert_eq!([faults.of(Some("a")), faults.of(Some("b"))], [Fault::None, Fault::Slow(3)]);
        faults.set_for("a", None).unwrap();
        assert_eq!(faults.of(Some("a")), Fault::Slow(3));
        assert_eq!(faults.set_for("a", Some(Fault::Offline)), Err(FaultError::ForAll));
    }
}
