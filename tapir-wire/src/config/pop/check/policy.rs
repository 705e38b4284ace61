//! Actions and rules.

use super::super::{Action, DenyAction, DoubtRule, PopConfig, Redirect};
use super::{Problem, Problems, check_name};
use crate::name::Name;
use crate::tags::{Tag, TagError, mask};

impl PopConfig {
    pub(super) fn policy_problems(&self) -> Problems {
        let mut problems = Vec::new();
        if self.deny.action == DenyAction::Passthru {
            let remedy = "use another action; to log without blocking set mode: Observe, to never block use a list: Allow";
            problems.push(Problem::new("deny.action", "is PASSTHRU, which denies nothing", remedy));
        }
        if self.deny.otherwise.is_some() && self.deny.action != DenyAction::Source {
            let remedy = "write action: Source, or remove it";
            problems.push(Problem::new("deny.otherwise", "has no effect with this action", remedy));
        }
        if self.deny.otherwise == Some(Action::Passthru) {
            problems.push(Problem::new("deny.otherwise", "is PASSTHRU, which denies nothing", "use another action"));
        }
        let redirects = self.deny.action == DenyAction::Redirect || self.deny.otherwise == Some(Action::Redirect);
        problems.extend(check_redirect("deny", redirects, self.deny.redirect.as_ref()));
        if self.doubt.len() > Self::MOST_RULES {
            let remedy = format!("give {} at most", Self::MOST_RULES);
            problems.push(Problem::new("doubt", format!("holds {}", self.doubt.len()), remedy));
        }
        for (position, rule) in self.doubt.iter().enumerate() {
            let others = self.doubt.iter().take(position).map(|rule| rule.name.as_str());
            problems.extend(rule.problems(position, others));
        }
        if !(1..=86_400).contains(&self.record_ttl_seconds) {
            problems.push(Problem::new("recordTtlSeconds", format!("is {}", self.record_ttl_seconds), "use 1 to 86400"));
        }
        problems
    }
}

/// Addresses of a redirect: what an answer holds without being cut over UDP.
const MOST_ADDRESSES: usize = 8;

fn check_redirect(place: &str, wanted: bool, redirect: Option<&Redirect>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let field = |name: &str| format!("{place}.redirect{name}");
    let Some(redirect) = redirect else {
        if wanted {
            let remedy = "add redirect with name or addresses";
            problems.push(Problem::new(format!("{place}.action"), "is Redirect without a target", remedy));
        }
        return problems;
    };
    if !wanted {
        problems.push(Problem::new(field(""), "has no effect with this action", "write action: Redirect, or remove it"));
    }
    if redirect.name.is_some() != redirect.addresses.is_empty() {
        problems.push(Problem::new(field(""), "needs one target", "give exactly one of name and addresses"));
    }
    if redirect.name.as_deref().is_some_and(|name| redirect_target(name).is_none()) {
        let remedy = "give the name of a host; labels of one asterisk and names below rpz-* mean something else in a policy zone";
        problems.push(Problem::new(field(".name"), "can be no target", remedy));
    }
    if redirect.addresses.len() > MOST_ADDRESSES {
        let remedy = format!("give {MOST_ADDRESSES} at most");
        problems.push(Problem::new(field(".addresses"), format!("holds {}", redirect.addresses.len()), remedy));
    }
    problems
}

/// A CNAME in a policy zone means something else where it points to the root, to an asterisk or to a name such as `rpz-drop.`
/// (draft-vixie-dnsop-dns-rpz section 3).
fn redirect_target(name: &str) -> Option<Name> {
    let name = Name::parse(name).ok().filter(|name| !name.is_root())?;
    let means_itself = name.labels().all(|label| label != "*") && !name.labels().last()?.starts_with("rpz-");
    means_itself.then_some(name)
}

impl Redirect {
    /// The name in canonical form; always there in a configuration without problems that names one.
    #[must_use]
    pub fn target(&self) -> Option<Name> {
        self.name.as_deref().and_then(redirect_target)
    }
}

impl DoubtRule {
    /// `any_tags` as a mask; 0 without any.
    pub fn any_mask(&self) -> Result<u32, TagError> {
        mask(self.any_tags.iter().map(String::as_str))
    }

    /// `all_tags` as a mask; 0 without any.
    pub fn all_mask(&self) -> Result<u32, TagError> {
        mask(self.all_tags.iter().map(String::as_str))
    }

    fn problems<'a>(&self, position: usize, others: impl Iterator<Item = &'a str>) -> Vec<Problem> {
        let field = |name: &str| format!("doubt[{position}].{name}");
        let mut problems: Vec<_> = check_name(field("name"), &self.name, others, "rule").into_iter().collect();
        for (list, tags) in [("anyTags", &self.any_tags), ("allTags", &self.all_tags)] {
            for (index, tag) in tags.iter().enumerate() {
                if Tag::parse(tag).is_err() {
                    let remedy = "use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31";
                    problems.push(Problem::new(field(&format!("{list}[{index}]")), format!("is {tag:?}, no tag"), remedy));
                }
            }
        }
        match self.min_tags {
            None if self.any_tags.is_empty() && self.all_tags.is_empty() && self.min_sources.is_none() => {
                let remedy = "give at least one of anyTags, allTags, minTags and minSources";
                problems.push(Problem::new(format!("doubt[{position}]"), "has no condition", remedy));
            }
            // 31 of the 32 bits count: looptest does not.
            Some(number) if !(1..=31).contains(&number) => {
                problems.push(Problem::new(field("minTags"), format!("is {number}"), "use 1 to 31"));
            }
            _ => {}
        }
        if let Some(number) = self.min_sources.filter(|number| !(1..=32).contains(number)) {
            problems.push(Problem::new(field("minSources"), format!("is {number}"), "use 1 to 32"));
        }
        let redirects = self.action == Action::Redirect;
        problems.extend(check_redirect(&format!("doubt[{position}]"), redirects, self.redirect.as_ref()));
        problems
    }
}
