//! Upstream's words for actions and tags.

use tapir_wire::config::pop::Action;
use tapir_wire::tags::Tag;

/// Names of the bits from 0. What Core means by them today is something else.
const TAGS: [&str; 11] =
    ["newname", "highvolume", "badip", "cdntracker", "likelymalware", "likelybotnetcc", "foo", "bar", "baz", "gazonk", "frotz"];

/// An action in any case.
pub(super) fn action(text: &str) -> Option<Action> {
    Some(match text.to_ascii_lowercase().as_str() {
        "nxdomain" => Action::Nxdomain,
        "nodata" => Action::Nodata,
        "drop" => Action::Drop,
        "redirect" => Action::Redirect,
        "allowlist" | "passthru" => Action::Passthru,
        _ => return None,
    })
}

/// The bit of a tag in any case.
pub(super) fn tag(text: &str) -> Option<Tag> {
    let bit = TAGS.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    Tag::parse(&format!("bit{bit}")).ok()
}
