//! An explanation as others read it.

use jiff::Timestamp;
use serde::Serialize;
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;
use tapir_wire::tags;

use super::{Binding, Listing, Question};
use crate::policy::{Action, Conditions, Decision, Evidence, Finding, Rule, Stage, counted_tags};
use crate::zone::LocalData;

/// Everything that decides about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The name, canonical.
    pub name: String,
    /// Whether the policy is acted on.
    pub mode: Mode,
    /// What decided.
    pub stage: Stage,
    /// What the policy does.
    pub action: String,
    /// What is answered, with a redirect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect: Vec<String>,
    /// What the zone says; absent: nothing, unless a wildcard covers the name, and then `rpz-passthru`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// Sources or the rule that it comes from.
    pub decided_by: Vec<String>,
    /// When the first of the entries that count ends: the earliest moment at which time alone may change the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Sources with an entry at the name or above it.
    pub sources: Vec<SourceView>,
    /// All doubt rules.
    pub rules: Vec<RuleView>,
    /// Sources that have the name and are none of this policy's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unused_sources: Vec<String>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Its name.
    pub source: String,
    /// Its class.
    pub list: List,
    /// What its entries cover.
    pub r#match: Match,
    /// What it counts as for this name; absent: it has entries above the name that do not cover it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_as: Option<List>,
    /// Its entries.
    pub entries: Vec<EntryView>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// Where it stands; `*.` in front of a wildcard.
    pub entry: String,
    /// Whether it covers the name.
    pub covers: bool,
    /// What its record asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Tags by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<Timestamp>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// One doubt rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// Its name.
    pub rule: String,
    /// Its action.
    pub action: String,
    /// Whether its conditions hold. Without effect where an allow or deny list decides.
    pub holds: bool,
    /// Whether it is the one that decides.
    pub decides: bool,
    /// Its conditions.
    pub conditions: Vec<ConditionView>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionView {
    /// As `pop.yaml` calls it.
    pub condition: &'static str,
    /// What it asks for.
    pub wanted: String,
    /// What there is.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

pub(super) fn source(
    binding: &Binding,
    finding: Option<&Finding>,
    entries: &[&Listing],
    covers: impl Fn(&Listing) -> bool,
) -> SourceView {
    let entry = |listing: &&Listing| EntryView {
        entry: if listing.below { format!("*.{}", listing.entry) } else { listing.entry.to_string() },
        covers: covers(listing),
        record: listing.record.map(|action| action.to_string()),
        tags: listing.tags.map(tags::names),
        added: listing.added,
        expires: listing.expires,
    };
    SourceView {
        source: binding.source.clone(),
        list: binding.list,
        r#match: binding.r#match,
        counts_as: finding.map(Finding::counts_as),
        entries: entries.iter().map(entry).collect(),
    }
}

pub(super) fn explanation(
    question: &Question<'_>,
    name: &Name,
    evidence: &Evidence,
    decision: &Decision,
    sources: Vec<SourceView>,
    unused_sources: Vec<String>,
) -> Explanation {
    let rules = question.policy.rules.iter().enumerate();
    let counting = sources.iter().flat_map(|source| &source.entries).filter(|entry| entry.covers);
    Explanation {
        name: name.to_string(),
        mode: question.mode,
        stage: decision.stage,
        action: decision.action.to_string(),
        redirect: redirect(question, decision.action),
        published: decision.published(question.mode).map(|action| action.to_string()),
        decided_by: decided_by(question, decision, &sources),
        until: counting.filter_map(|entry| entry.expires).min(),
        rules: rules.map(|(index, rule)| self::rule(rule, evidence, decision.winner == Some(index))).collect(),
        sources,
        unused_sources,
    }
}

fn decided_by(question: &Question<'_>, decision: &Decision, sources: &[SourceView]) -> Vec<String> {
    let of = |list: List| sources.iter().filter(move |source| source.counts_as == Some(list)).map(|source| source.source.clone());
    match decision.stage {
        Stage::None => Vec::new(),
        Stage::Allow => of(List::Allow).collect(),
        Stage::Deny => of(List::Deny).collect(),
        Stage::Doubt => decision
            .winner
            .and_then(|winner| question.policy.rules.get(winner))
            .map(|rule| rule.name.clone())
            .into_iter()
            .collect(),
    }
}

fn redirect(question: &Question<'_>, action: Action) -> Vec<String> {
    let Action::Local(index) = action else { return Vec::new() };
    match question.policy.locals.get(usize::from(index.0)) {
        Some(LocalData::Name(name)) => vec![name.to_string()],
        Some(LocalData::Addresses(addresses)) => addresses.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    }
}

fn rule(rule: &Rule, evidence: &Evidence, decides: bool) -> RuleView {
    let conditions = rule.conditions(evidence);
    RuleView {
        rule: rule.name.clone(),
        action: rule.action.to_string(),
        holds: evidence.doubted && conditions.hold(),
        decides,
        conditions: condition_views(rule, conditions, evidence),
    }
}

fn condition_views(rule: &Rule, conditions: Conditions, evidence: &Evidence) -> Vec<ConditionView> {
    let tags = |mask: u32| tags::names(mask).join(", ");
    let number = |limit: u32| limit.to_string();
    let found = tags(evidence.tags);
    let counted = number(counted_tags(evidence.tags));
    let all = [
        ("anyTags", rule.any_tags.map(tags), &found, conditions.any_tags),
        ("allTags", rule.all_tags.map(tags), &found, conditions.all_tags),
        ("minTags", rule.min_tags.map(number), &counted, conditions.min_tags),
        ("minSources", rule.min_sources.map(number), &number(evidence.doubt_sources), conditions.min_sources),
    ];
    let view = |(condition, wanted, found, holds): (_, Option<String>, &String, Option<bool>)| {
        Some(ConditionView { condition, wanted: wanted?, found: found.clone(), holds: holds? })
    };
    all.into_iter().filter_map(view).collect()
}
