//! Which Pods a Service served over time, and whether that is what was promised. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::objects::{name, text};

/// What may happen to a Service's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// So many new Pods may join, and stay; nobody leaves.
    Joins(usize),
    /// Each Pod leaves once and a new one joins, with never fewer than two.
    EachReplaced,
    /// Each Pod may leave and come back, so many times at most, and never two at a time.
    Restarts(usize),
    /// Pods may come, go and come back, with never fewer than so many.
    AtLeast(usize),
}

/// Names of the Pods that are served to clients.
pub type Ready = BTreeSet<String>;

/// What `kubectl get endpointslices --watch --output-watch-events --output=json` has told so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// After each event, in order.
    pub states: Vec<Ready>,
    /// The slices as they were seen last: resource versions by name.
    pub versions: BTreeMap<String, String>,
}

impl Watched {
    /// Reads the stream. Its last event may not be written to its end.
    #[must_use]
    pub fn read(stream: &str) -> Self {
        let events = serde_json::Deserializer::from_str(stream).into_iter::<Value>().map_while(Result::ok);
        let (mut watched, mut slices) = (Self::default(), BTreeMap::new());
        for event in events {
            let slice = &event["object"];
            if event["type"] == "DELETED" {
                slices.remove(&name(slice));
                watched.versions.remove(&name(slice));
            } else {
                slices.insert(name(slice), ready(slice).collect::<Ready>());
                watched.versions.insert(name(slice), version(slice));
            }
            watched.states.push(slices.values().flatten().cloned().collect());
        }
        watched
    }
}

/// Names of the Pods behind a slice that are served to clients.
pub fn ready(slice: &Value) -> impl Iterator<Item = String> + '_ {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).map(|endpoint| text(&endpoint["targetRef"]["name"]))
}

/// Resource version of an object.
#[must_use]
pub fn version(object: &Value) -> String {
    text(&object["metadata"]["resourceVersion"])
}

/// Whether the endpoints went from `first` on as `allowed`.
///
/// # Errors
/// Names what was not allowed.
pub fn judge(first: &Ready, states: &[Ready], allowed: Change) -> Result<()> {
    // A Service may have several slices, and the watch tells of one after the other at its beginning.
    let begin = states.iter().position(|state| state == first).with_context(|| format!("the watch never saw {first:?}"))?;
    let states = &states[begin..];
    let last = states.len() - 1;
    let all: Ready = states.iter().flatten().cloned().collect();
    match allowed {
        Change::Restarts(most) => return restarts(first, states, most),
        Change::AtLeast(least) => {
            let fewest = states.iter().map(BTreeSet::len).min().unwrap_or(0);
            ensure!(fewest >= least, "down to {fewest} endpoints");
            return Ok(());
        }
        _ => {}
    }
    for pod in &all {
        let at: Vec<usize> = (0..=last).filter(|index| states[*index].contains(pod)).collect();
        let (joined, left) = (at.first().copied().unwrap_or(0), at.last().copied().unwrap_or(0));
        ensure!(left - joined + 1 == at.len(), "endpoint {pod} left the Service and came back");
        ensure!(joined == 0 || left == last, "endpoint {pod} joined the Service and left it");
        ensure!(
            left == last || allowed == Change::EachReplaced,
            "endpoint {pod} left the Service; ready then: {:?}",
            states[left + 1]
        );
    }
    let new = all.len() - first.len();
    match allowed {
        Change::None if new > 0 => bail!("{all:?} were endpoints, not {first:?} alone"),
        Change::Joins(most) if new > most => bail!("{new} endpoints joined, not {most}: {all:?}"),
        Change::EachReplaced => {
            let fewest = states.iter().map(BTreeSet::len).min().unwrap_or(0);
            ensure!(fewest >= 2, "down to {fewest} endpoints");
            ensure!(states[last].is_disjoint(first), "{:?} are still the first ones", states[last]);
            ensure!(new == first.len() && states[last].len() == first.len(), "{all:?} were endpoints, {:?} are", states[last]);
        }
        _ => {}
    }
    Ok(())
}

fn restarts(first: &Ready, states: &[Ready], most: usize) -> Result<()> {
    for state in states {
        ensure!(state.is_subset(first), "{state:?} were endpoints, not {first:?} alone");
        ensure!(state.len() + 1 >= first.len(), "only {state:?} of {first:?} were endpoints");
    }
    ensure!(states.last() == Some(first), "{:?} are endpoints in the end, not {first:?}", states.last());
    for pod in first {
        let times = states.windows(2).filter(|pair| pair[0].contains(pod) && !pair[1].contains(pod)).count();
        ensure!(times <= most, "endpoint {pod} left the Service {times} times");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn states(rows: &str) -> Vec<Ready> {
        rows.split(' ').map(|row| row.chars().filter(|c| *c != '-').map(String::from).collect()).collect()
    }

    fn holds(rows: &str, allowed: Change) -> bool {
        let states = states(rows);
        judge(&states[0], &states, allowed).is_ok()
    }

    #[test]
    fn what_is_promised_and_nothing_else() {
        for (rows, none, joins, replaced) in [
            ("ab", true, true, false),
            ("ab ab", true, true, false),
            ("ab abc", false, true, false),
            ("ab abc abcd", false, false, false),
            ("ab a ab", false, false, false),
            ("ab a", false, false, false),
            ("ab abc ab", false, false, false),
            ("abc ab abd ad ade de def", false, false, true),
            ("abc abcd abd abde ade adef def", false, false, true),
            ("abc ab abd ad de def", false, false, true),
            ("abc ab a ad ade de def", false, false, false),
            ("abc ab abd ab abd ad ade de def", false, false, false),
            ("abc ab abd ad ade de", false, false, false),
            ("abc ab abd ad ade adf", false, false, false),
        ] {
            assert_eq!(holds(rows, Change::None), none, "{rows}: none");
            assert_eq!(holds(rows, Change::Joins(1)), joins, "{rows}: joins");
            assert_eq!(holds(rows, Change::EachReplaced), replaced, "{rows}: replaced");
        }
    }

    #[test]
    fn restarts_are_one_at_a_time_and_end_well() {
        for (rows, once) in [
            ("ab", true),
            ("ab a ab b ab", true),
            ("ab a ab a ab", false),
            ("ab a", false),
            ("abc a abc", false),
            ("ab abc ab", false),
        ] {
            assert_eq!(holds(rows, Change::Restarts(1)), once, "{rows}");
        }
        assert!(holds("ab a ab a ab", Change::Restarts(2)));
        assert!(holds("ab a ac abc", Change::AtLeast(1)) && !holds("ab a ac abc", Change::AtLeast(2)));
    }

    #[test]
    fn a_watch_that_never_saw_the_beginning_proves_nothing() {
        assert!(judge(&states("ab")[0], &[], Change::None).is_err());
        assert!(judge(&states("ab")[0], &states("a b"), Change::None).is_err());
        assert!(judge(&states("ab")[0], &states("- a ab ab"), Change::None).is_ok());
    }

    #[test]
    fn several_slices_are_one_service() {
        let event = |kind: &str, slice: &str, version: &str, pods: &[(&str, bool)]| {
            let endpoints: Vec<_> =
                pods.iter().map(|(pod, ready)| json!({"conditions": {"ready": ready}, "targetRef": {"name": pod}})).collect();
            json!({"type": kind, "object": {"metadata": {"name": slice, "resourceVersion": version}, "endpoints": endpoints}})
                .to_string()
        };
        let stream = [
            event("ADDED", "one", "1", &[("a", true), ("x", false)]),
            event("ADDED", "two", "2", &[("b", true)]),
            event("MODIFIED", "one", "3", &[("a", false)]),
            event("DELETED", "two", "4", &[("b", true)]),
        ];
        let watched = Watched::read(&format!("{}\n{{\"type\":", stream.join("\n")));
        assert_eq!(watched.states, states("a ab b -"));
        assert_eq!(watched.versions, BTreeMap::from([("one".to_owned(), "3".to_owned())]));
    }
}
