//! All decisions -> records.
//!
//! The zone must answer for *every* name as `decide` does. Names that are listed themselves get a record. A subtree that is
//! blocked gets a record and a wildcard. Below a published wildcard silence would mean the wildcard's action, so there every
//! name that is listed anywhere, allow lists included, and every name between it and the wildcard says what it means itself:
//! `rpz-passthru.` where nothing may happen. The names between are needed because resolvers differ: with `*.b.example` and
//! `x.a.b.example` in a zone, BIND finds no wildcard for `y.a.b.example` (RFC 4592 section 2.2.2, the empty non-terminal
//! `a.b.example` exists) while unbound does.

use std::collections::{BTreeMap, HashMap, HashSet};

use tapir_wire::config::pop::Action;
use tapir_wire::name::Name;

use crate::names::{ZoneName, self_and_ancestors};
use crate::sources::{Knowledge, Scope};
use crate::zone::Content;

/// Decides every listed name anew.
#[must_use]
pub fn build(zone: &ZoneName, knowledge: &Knowledge<'_>) -> Content {
    let records = if knowledge.blocks_subtrees() { with_wildcards(zone, knowledge) } else { exact(zone, knowledge) };
    Content { zone: zone.clone(), records }
}

fn exact(zone: &ZoneName, knowledge: &Knowledge<'_>) -> BTreeMap<Name, Action> {
    let fit = knowledge.suspects().filter(|name| zone.check(name).is_ok());
    fit.filter_map(|name| Some((name.clone(), knowledge.effect(name, Scope::Itself)?))).collect()
}

fn with_wildcards(zone: &ZoneName, knowledge: &Knowledge<'_>) -> BTreeMap<Name, Action> {
    let listed = knowledge.suspects().chain(knowledge.allowed()).filter(|name| zone.check(name).is_ok());
    let mut nodes = HashSet::new();
    let mut parents = HashSet::new();
    for name in listed {
        for (distance, node) in self_and_ancestors(name).enumerate() {
            if distance > 0 {
                parents.insert(node.clone());
            }
            // What is there already has its ancestors there too.
            if !nodes.insert(node) {
                break;
            }
        }
    }
    let mut order: Vec<(usize, Name)> = nodes.into_iter().map(|name| (name.labels().count(), name)).collect();
    order.sort_unstable();

    let mut records = BTreeMap::new();
    // What a wildcard at or above the node says of names below it.
    let mut covering: HashMap<Name, Action> = HashMap::new();
    for (_, node) in order {
        let inherited = node.parent().and_then(|parent| covering.get(&parent).copied());
        let itself = knowledge.effect(&node, Scope::Itself);
        let below = knowledge.effect(&node, Scope::Below);
        let says_nothing_new = inherited.is_some() && itself == inherited && below == inherited;
        if says_nothing_new && !parents.contains(&node) {
            continue;
        }
        let silence = inherited.map(|_| Action::Passthru);
        if let Some(action) = itself.or(silence) {
            records.insert(node.clone(), action);
        }
        if let Some(action) = below.or(silence) {
            if let Some(wildcard) = zone.wildcard(&node) {
                records.insert(wildcard, action);
            }
            covering.insert(node, action);
        }
    }
    records
}
