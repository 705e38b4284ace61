//! Ways in which this Core can be told to misbehave.

use tokio::sync::watch;

use crate::message::{Answer, Request};

/// One way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
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
}

impl Fault {
    /// By its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Offline => "offline",
            Self::LoseAnswer => "lose-answer",
            Self::Nonsense => "nonsense",
            Self::Refuse => "refuse",
            Self::Unreachable => "unreachable",
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
            Self::None | Self::Offline | Self::LoseAnswer | Self::Unreachable => None,
        }
    }

    /// Whether the answer to this request is to be lost.
    #[must_use]
    pub fn loses(self, request: &Request) -> bool {
        self == Self::LoseAnswer && request.method == "POST"
    }
}

/// The fault in force, to be set and to be waited for. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    sender: watch::Sender<Fault>,
}

impl Faults {
    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Fault {
        *self.sender.borrow()
    }

    /// Sets another.
    pub fn set(&self, fault: Fault) {
        self.sender.send_replace(fault);
    }

    /// Returns as soon as the fault in force pleases `wanted`.
    pub async fn wait_until(&self, wanted: impl Fn(Fault) -> bool) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.sender.subscribe().wait_for(|fault| wanted(*fault)).await;
    }
}
