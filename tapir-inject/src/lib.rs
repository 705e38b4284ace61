//! From a Pod and a rendered injection to a JSON patch, or to the reason why the Pod is left alone. Pure: no clock, no client.
//!
//! The chart's admission policy says the same in CEL (`charts/tapir-operator/templates/injection-policy.yaml`); the webhook, which serves
//! API servers without that kind of policy, calls this. Both must make equal Pods, so conditions, their names and their order, and the
//! order of the patch's operations are those of the policy, and one table of cases (`cases.json`) is asked of both.
//!
//! The first duty is that a Pod is never refused: what cannot be judged is left alone.

mod class;
mod conditions;
mod patch;
mod paths;

pub use class::Class;
pub use conditions::{Why, left_alone};
pub use patch::Operation;
use serde_json::Value;

/// Label of a Pod that names its edge.
pub const EDGE_LABEL: &str = "dnstapir.se/edge";
/// Annotation of a Pod: what it got, but for the images.
pub const REVISION_ANNOTATION: &str = "dnstapir.se/injection-revision";
/// Annotation of a Pod: the images that it got.
pub const IMAGES_ANNOTATION: &str = "dnstapir.se/injection-images";

/// What becomes of a Pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is admitted as it is.
    Skip(Why),
    /// It is admitted with these changes, in this order.
    Patch(Vec<Operation>),
}

/// Judges a Pod as the API server shows it to an admission webhook: defaults are filled in. `injection` is `status.injection` of the edge
/// `edge` of the Pod's namespace, null while nothing is rendered.
#[must_use]
pub fn inject(pod: &Value, edge: &str, injection: &Value) -> Verdict {
    if let Some(why) = conditions::unmet(pod, edge, injection) {
        return Verdict::Skip(why);
    }
    let Some(class) = Class::of(&pod["spec"]) else { return Verdict::Skip(Why::Unreadable) };
    patch::patch(pod, injection, class).map_or(Verdict::Skip(Why::Unreadable), Verdict::Patch)
}

/// The items of a list; none where there is no list.
fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A text member; empty where there is none.
fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_default()
}
