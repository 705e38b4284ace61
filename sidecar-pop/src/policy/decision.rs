//! What was decided, and by what.

use tapir_wire::config::pop::Mode;

use super::Action;

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Stage {
    /// On no list.
    None,
    /// On an allow list.
    Allow,
    /// On a deny list.
    Deny,
    /// On doubt lists only.
    Doubt,
}

/// What happens to a name, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What decided.
    pub stage: Stage,
    /// What happens; [`Action::Passthru`] leaves no trace in the zone.
    pub action: Action,
    /// Rules that fired.
    pub fired: Fired,
    /// The rule whose action it is: the first of the most restrictive ones.
    pub winner: Option<usize>,
}

impl Decision {
    pub(super) const fn pass(stage: Stage) -> Self {
        Self { stage, action: Action::Passthru, fired: Fired(0), winner: None }
    }

    /// What the policy does to the name; `None`: nothing.
    #[must_use]
    pub fn effect(&self) -> Option<Action> {
        (self.action != Action::Passthru).then_some(self.action)
    }

    /// What the zone must say of the name; `None`: nothing. In Observe mode every match is only logged.
    #[must_use]
    pub fn published(&self, mode: Mode) -> Option<Action> {
        let effect = self.effect()?;
        Some(match mode {
            Mode::Enforce => effect,
            Mode::Observe => Action::Passthru,
        })
    }
}

/// Rules by their place in the policy. [`tapir_wire::config::pop::PopConfig::MOST_RULES`] have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired(u64);

impl Fired {
    pub(super) fn add(&mut self, rule: usize) {
        self.0 |= u32::try_from(rule).ok().and_then(|bit| 1u64.checked_shl(bit)).unwrap_or_default();
    }

    /// Whether a rule is among them.
    #[must_use]
    pub fn contains(self, rule: usize) -> bool {
        self.iter().any(|one| one == rule)
    }

    /// How many fired.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether none did.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of the policy.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS).filter(move |bit| self.0 >> bit & 1 == 1).map(|bit| bit as usize)
    }
}
