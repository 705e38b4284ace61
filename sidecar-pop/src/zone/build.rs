//! All decisions -> records.
//!
//! The zone must answer for *every* name as `decide` does. Names that are listed themselves get a record. A subtree that is
//! blocked gets a record and a wildcard. Below a published wildcard silence would mean the wildcard's action, so there every
//! name that is listed anywhere and answered differently, allow lists included, and every name between it and the wildcard says
//! what it means itself: `rpz-passthru.` where nothing may happen. The names between are needed because resolvers differ: with `*.b.example` and
//! `x.a.b.example` in a zone, BIND finds no wildcard for `y.a.b.example` (RFC 4592 section 2.2.2, the empty non-terminal
//! `a.b.example` exists) while unbound does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tapir_wire::name::Name;

use crate::names::{ZoneName, self_and_ancestors};
use crate::policy::Action;
use crate::sources::{Knowledge, Scope};
use crate::zone::Content;

/// Decides every listed name anew.
#[must_use]
pub fn build(zone: &ZoneName, knowledge: &Knowledge<'_>) -> Content {
    let records = if knowledge.blocks_subtrees() { with_wildcards(zone, knowledge) } else { exact(zone, knowledge) };
    let policy = &knowledge.rules.policy;
    Content { zone: zone.clone(), record_ttl: policy.record_ttl, locals: Arc::clone(&policy.locals), records }
}

fn exact(zone: &ZoneName, knowledge: &Knowledge<'_>) -> BTreeMap<Name, Action> {
    let fit = knowledge.suspects().filter(|name| zone.check(name).is_ok());
    fit.filter_map(|name| Some((name.clone(), knowledge.effect(name, Scope::Itself)?))).collect()
}

fn with_wildcards(zone: &ZoneName, knowledge: &Knowledge<'_>) -> BTreeMap<Name, Action> {
    let mut records = BTreeMap::new();
    let mut nodes = HashSet::new();
    for name in
        knowledge.suspects().chain(knowledge.allowed()).filter(|name| zone.check(name).is_ok() && changes(name, knowledge))
    {
        let above: Vec<Name> = self_and_ancestors(name).collect();
        let top = above.iter().rposition(|node| knowledge.effect(node, Scope::Below).is_some());
        match top {
            Some(top) => nodes.extend(above.into_iter().take(top + 1)),
            // Outside of all subtrees nothing but the name itself is needed.
            None => records.extend(knowledge.effect(name, Scope::Itself).map(|action| (name.clone(), action))),
        }
    }
    let mut order: Vec<(usize, Name)> = nodes.into_iter().map(|name| (name.labels().count(), name)).collect();
    order.sort_unstable();
    // What a wildcard at or above the node says of names below it.
    let mut covering: HashMap<&Name, Action> = HashMap::new();
    for (_, node) in &order {
        let silence = node.parent().and_then(|parent| covering.get(&parent)).map(|_| Action::Passthru);
        if let Some(action) = knowledge.effect(node, Scope::Itself).or(silence) {
            records.insert(node.clone(), action);
        }
        if let Some(action) = knowledge.effect(node, Scope::Below).or(silence) {
            if let Some(wildcard) = zone.wildcard(node) {
                records.insert(wildcard, action);
            }
            covering.insert(node, action);
        }
    }
    records
}

/// Whether a name, or those below it, are answered differently from what is beside it. What is listed but says what its
/// surroundings say anyway needs no record; thousands of names that Core observed below a blocked top-level domain would bring
/// all names between with them.
fn changes(name: &Name, knowledge: &Knowledge<'_>) -> bool {
    let around = name.parent().and_then(|parent| knowledge.effect(&parent, Scope::Below));
    knowledge.effect(name, Scope::Itself) != around || knowledge.effect(name, Scope::Below) != around
}
