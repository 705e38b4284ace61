//! Explanations of what is in force, or of what would be.

use serde_json::{Value, json};
use tapir_table::{Codes, KeyBuf, MAX_KEY};
use tapir_wire::name::Name;
use tokio::sync::oneshot;

use super::routes::ask;
use super::{AdminError, Answer, Question, Sources};
use crate::names::self_and_ancestors;
use crate::policy::explain::{self, Listing};
use crate::setup::{NoFiles, Setup};
use crate::zone::record_text;

/// Why the name is answered as it is; with `text`, as it would be with that `pop.yaml` and the lists that are here.
pub(super) async fn explain(sources: &Sources, name: &str, text: Option<&str>) -> Answer {
    let name = Name::parse(name).map_err(|error| AdminError::Request(format!("name is no name: {error}")))?;
    let in_force = sources.setup.borrow().clone().ok_or(AdminError::NoConfiguration)?;
    let (reply, knowledge) = oneshot::channel();
    let knowledge = ask(&sources.engine, Question::Knowledge(reply), knowledge).await?;
    let mut listings = knowledge.listings(&name)?;
    let other = match text {
        Some(text) => Some(Setup::parse(text, &mut NoFiles).map_err(|error| AdminError::Request(error.to_string()))?.0),
        None => None,
    };
    let setup = match &other {
        Some(other) => {
            exchange_lists(&mut listings, other, &name);
            other
        }
        None => in_force.as_ref(),
    };
    let question = explain::Question { policy: &setup.rules.policy, mode: setup.rules.mode, bindings: &setup.bindings };
    let mut told = serde_json::to_value(question.explain(&name, &listings)).unwrap_or_default();
    if let Value::Object(told) = &mut told {
        told.insert("inForce".to_owned(), other.is_none().into());
        told.insert("served".to_owned(), served(sources, &name)?);
        if other.is_some() {
            let here = |source: &str| in_force.sources.iter().any(|here| here == source);
            let own = |source: &str| setup.rules.lists.iter().any(|list| list.source == source);
            let missing = setup.sources.iter().filter(|source| !here(source) && !own(source));
            told.insert("missingSources".to_owned(), missing.cloned().collect());
        }
    }
    Ok(told)
}

/// Lists that stand in the other configuration itself are its own; all others are those that are here.
fn exchange_lists(listings: &mut Vec<Listing>, other: &Setup, name: &Name) {
    listings.retain(|listing| other.rules.lists.iter().all(|list| list.source != listing.source));
    for list in &other.rules.lists {
        let mut found: Vec<Name> = Vec::new();
        let above: Vec<(KeyBuf, Name)> =
            self_and_ancestors(name).filter_map(|name| Some((KeyBuf::from_wire(&name.to_wire(), MAX_KEY).ok()?, name))).collect();
        list.text.each(&other.zone, |_, entry| {
            let entry = entry.ok().and_then(|entry| above.iter().find(|(key, _)| *key == entry));
            if let Some((_, name)) = entry
                && !found.contains(name)
            {
                found.push(name.clone());
            }
        });
        let listing = |entry| {
            let source = list.source.clone();
            Listing { source, entry, below: false, record: None, tags: None, added: None, expires: None }
        };
        listings.extend(found.into_iter().map(listing));
    }
}

/// What the zone says now of just this owner.
fn served(sources: &Sources, name: &Name) -> Result<Value, AdminError> {
    let published = sources.published.borrow().clone();
    let Some(zone) = published else { return Ok(Value::Null) };
    let wire = name.to_wire();
    let (wire, below) = wire.strip_prefix(b"\x01*").map_or((wire.as_slice(), false), |parent| (parent, true));
    let codes = match KeyBuf::from_wire(wire, MAX_KEY) {
        Ok(key) => zone.get(&key)?,
        Err(_) => Codes::SILENT,
    };
    let record = record_text(if below { codes.below } else { codes.own });
    Ok(json!({"serial": zone.serial.0, "record": record}))
}
