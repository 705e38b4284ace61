//! What `docs/reference.md` lists is what the code says: alerts and scripts are written against it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use strum::IntoEnumIterator as _;
use tapir_operator::api::reasons::{EventReason, Reason};

const REFERENCE: &str = include_str!("../../docs/reference.md");

/// First cells of the tables below a heading, as far as they are names.
fn names(heading: &str) -> Vec<&'static str> {
    let (_, section) = REFERENCE.split_once(&format!("\n{heading}\n")).expect(heading);
    let rows = section.lines().take_while(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn reasons_of_conditions_in_the_order_of_their_urgency() {
    assert_eq!(names("### Reasons"), Reason::iter().map(<&str>::from).collect::<Vec<_>>());
}

#[test]
fn reasons_of_a_rollout() {
    assert_eq!(names("### Reasons of a rollout"), tapir_plan::rollout::Reason::iter().map(<&str>::from).collect::<Vec<_>>());
}

#[test]
fn reasons_of_events() {
    assert_eq!(names("## Events"), EventReason::iter().map(<&str>::from).collect::<Vec<_>>());
}
