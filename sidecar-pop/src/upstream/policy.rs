//! `pop-policy.yaml`.

use tapir_wire::config::pop::{Action, Deny, DenyAction, DoubtRule, PopConfig};
use tapir_wire::tags::Tag;

use super::{Report, Tree, words};

pub(super) fn convert(file: &Tree, config: &mut PopConfig, report: &mut Report) {
    if file.is_empty() {
        report.note(file.whole(), "is missing or empty: deny lists get NXDOMAIN, and nothing is doubted");
        return;
    }
    file.note_unknown(&["policy"], report);
    let policy = file.map("policy", report);
    policy.note_unknown(&["logfile", "allowlist", "denylist", "doubtlist"], report);
    let (allow, deny) = (policy.map("allowlist", report), policy.map("denylist", report));
    allow.note_unknown(&["action"], report);
    deny.note_unknown(&["action"], report);
    if action(&allow, report).is_some_and(|action| action != Action::Passthru) {
        report.refuse(allow.place("action"), "would block every name that is to be let pass: write PASSTHRU");
    }
    match action(&deny, report) {
        Some(Action::Passthru) => {
            report.refuse(deny.place("action"), "denies nothing: use another action, or mode: Observe in pop.yaml to log only");
        }
        Some(action) if has_target(action, &deny, report) => {
            config.deny = Deny { action: DenyAction::from(action), ..Deny::default() };
        }
        _ => {}
    }
    let doubt = policy.map("doubtlist", report);
    doubt.note_unknown(&["numsources", "numtapirtags", "denytapir"], report);
    let rules = [num_sources(&doubt, report), num_tapir_tags(&doubt, report), deny_tapir(&doubt, report)];
    config.doubt = rules.into_iter().flatten().collect();
}

fn action(map: &Tree, report: &mut Report) -> Option<Action> {
    let text = map.text("action", report);
    let action = text.as_deref().and_then(words::action);
    match (text, action) {
        (None, _) => report.refuse(map.place("action"), "is missing"),
        (Some(_), None) => {
            report.refuse(map.place("action"), "is none of NXDOMAIN, NODATA, DROP, REDIRECT, PASSTHRU and ALLOWLIST");
        }
        _ => {}
    }
    action
}

/// Upstream has no target for redirects, and its zone cannot be transferred any more when one is to be used.
fn has_target(action: Action, map: &Tree, report: &mut Report) -> bool {
    if action == Action::Redirect {
        report.refuse(
            map.place("action"),
            "is REDIRECT, and these files cannot say where to: use another action here, and redirect in pop.yaml",
        );
    }
    action != Action::Redirect
}

fn rule(name: &str, action: Action) -> DoubtRule {
    DoubtRule {
        name: name.to_owned(),
        any_tags: Vec::new(),
        all_tags: Vec::new(),
        min_tags: None,
        min_sources: None,
        action,
        redirect: None,
    }
}

/// Limit and action of a rule that counts. Upstream's rule fires always with a limit below zero.
fn limited(map: &Tree, most: u32, report: &mut Report) -> Option<(u32, Action)> {
    map.note_unknown(&["limit", "action"], report);
    let (limit, action) = (map.number("limit", report), action(map, report));
    let limit = match limit {
        None => {
            report.refuse(map.place("limit"), "is missing");
            return None;
        }
        Some(limit) if limit < 1 => {
            report.refuse(map.place("limit"), format!("is {limit}: use 1 or more"));
            return None;
        }
        Some(limit) => u32::try_from(limit).unwrap_or(u32::MAX),
    };
    let action = action.filter(|action| has_target(*action, map, report))?;
    if limit > most {
        report.note(map.place("limit"), format!("is {limit} and can never be reached: the rule is left out"));
        return None;
    }
    Some((limit, action))
}

fn num_sources(doubt: &Tree, report: &mut Report) -> Option<DoubtRule> {
    let map = doubt.map("numsources", report);
    let (limit, action) = limited(&map, 32, report)?;
    report.note(map.whole(), "a list that has the name for a loop test alone does not count");
    Some(DoubtRule { min_sources: Some(limit), ..rule("numsources", action) })
}

fn num_tapir_tags(doubt: &Tree, report: &mut Report) -> Option<DoubtRule> {
    let map = doubt.map("numtapirtags", report);
    let (limit, action) = limited(&map, 31, report)?;
    report.note(map.whole(), "the tag looptest (frotz) does not count");
    Some(DoubtRule { min_tags: Some(limit), ..rule("numtapirtags", action) })
}

fn deny_tapir(doubt: &Tree, report: &mut Report) -> Option<DoubtRule> {
    let map = doubt.map("denytapir", report);
    map.note_unknown(&["tags", "action"], report);
    let action = action(&map, report);
    let Some(names) = map.texts("tags", report) else {
        report.refuse(map.place("tags"), "is missing: an empty list is fine");
        return None;
    };
    let mut tags: Vec<Tag> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match words::tag(name) {
            Some(tag) => tags.push(tag),
            None => report.refuse(map.place(&format!("tags[{index}]")), "is no tag of upstream's"),
        }
    }
    if names.is_empty() {
        report.note(map.whole(), "has no tags and never fires: the rule is left out");
        return None;
    }
    let action = action.filter(|action| has_target(*action, &map, report))?;
    for (index, tag) in tags.iter().enumerate() {
        report.note(map.place(&format!("tags[{index}]")), format!("is bit {} of the mask, which Core calls {tag}", tag.bit()));
    }
    Some(DoubtRule { any_tags: tags.iter().map(ToString::to_string).collect(), ..rule("denytapir", action) })
}
