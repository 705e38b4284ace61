//! Quality-of-service class of a Pod. Sidecars must not change it: it decides who is evicted and killed first.

use serde_json::Value;

use crate::items;

/// The class, as Kubernetes computes it for a Pod without resources of the whole Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No requests, no limits.
    BestEffort,
    /// Some.
    Burstable,
    /// Limits everywhere, and requests equal to them.
    Guaranteed,
}

/// What counts for the class.
const COUNTED: [&str; 2] = ["cpu", "memory"];

impl Class {
    /// The class of a Pod's `spec`; none when a quantity in it is none.
    ///
    /// Kubernetes compares sums over all containers. A request is never above its limit (the API server refuses that), so the sums are
    /// equal only where each container's are.
    #[must_use]
    pub fn of(spec: &Value) -> Option<Self> {
        // Kubernetes looks at these alone when they are there, also when they are empty. Others keep a Pod from being injected.
        if !spec["resources"].is_null() {
            return Some(Self::BestEffort);
        }
        let (mut nothing, mut guaranteed) = (true, true);
        for container in items(&spec["containers"]).chain(items(&spec["initContainers"])) {
            for resource in COUNTED {
                let request = quantity(&container["resources"]["requests"][resource])?;
                let limit = quantity(&container["resources"]["limits"][resource])?;
                // A quantity of zero counts as none.
                nothing &= request.unwrap_or(0) == 0 && limit.unwrap_or(0) == 0;
                guaranteed &= limit.is_some_and(|limit| limit > 0 && request.unwrap_or(limit) == limit);
            }
        }
        Some(match (nothing, guaranteed) {
            (true, _) => Self::BestEffort,
            (false, true) => Self::Guaranteed,
            (false, false) => Self::Burstable,
        })
    }

    /// Where the containers for this class stand in an injection.
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::BestEffort => "bestEffort",
            Self::Burstable => "burstable",
            Self::Guaranteed => "guaranteed",
        }
    }
}

/// A quantity in units of 10^-9. The outer none is for what is no quantity, the inner one for nothing at all.
#[expect(clippy::option_option, reason = "absent is not the same as unreadable")]
fn quantity(value: &Value) -> Option<Option<i128>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => nano(text).map(Some),
        Value::Number(number) => nano(&number.to_string()).map(Some),
        _ => None,
    }
}

/// More digits than any quantity that the API server hands out, which ends at 2^63.
const MOST_DIGITS: usize = 28;

fn nano(text: &str) -> Option<i128> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > MOST_DIGITS || fraction.contains('.') {
        return None;
    }
    let (ten, two) = scale(suffix)?;
    let mantissa: i128 = digits.parse().ok()?;
    let exponent = 9 + ten - i32::try_from(fraction.len()).ok()?;
    let power = 10i128.checked_pow(exponent.unsigned_abs());
    let scaled = mantissa.saturating_mul(1i128 << two);
    let amount = match (exponent >= 0, power) {
        (true, Some(power)) => scaled.saturating_mul(power),
        (true, None) => {
            if scaled == 0 {
                0
            } else {
                i128::MAX
            }
        }
        // As Kubernetes does: what is smaller than the smallest unit is rounded up.
        (false, Some(power)) => scaled / power + i128::from(scaled % power != 0),
        (false, None) => i128::from(scaled != 0),
    };
    Some(if negative { -amount } else { amount })
}

/// Powers of ten and of two.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    let known = |list: &[&str]| list.iter().position(|known| *known == suffix).and_then(|at| i32::try_from(at).ok());
    if let Some(at) = known(&["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]) {
        return Some(((at - 3) * 3, 0));
    }
    if let Some(at) = known(&["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) {
        return Some((0, at.unsigned_abs() * 10));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-64..=64).contains(&exponent).then_some((exponent, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let same = [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E-3", "1m"),
            (".5", "0.5"),
            ("5.", "5"),
            ("+2", "2"),
            ("2000000n", "2m"),
            ("0.1n", "1n"),
            ("0Ei", "0"),
        ];
        for (one, other) in same {
            assert_eq!(nano(one), nano(other), "{one} {other}");
            assert!(nano(one).is_some(), "{one}");
        }
        assert!(
            nano("1K").is_none()
                && nano("").is_none()
                && nano("x").is_none()
                && nano("1.2.3").is_none()
                && nano("1 Gi").is_none()
        );
        assert!(nano("-1") < nano("0") && nano("16Ei") > nano("9E"));
    }

    #[test]
    fn what_is_no_quantity_has_no_class() {
        assert_eq!(Class::of(&json!({"containers": [{"resources": {"limits": {"cpu": "much"}}}]})), None);
        assert_eq!(Class::of(&json!({"containers": [{"resources": {"limits": {"cpu": []}}}]})), None);
    }

    /// Kubernetes' way: sums of requests and limits by resource over all containers, zero left out, compared at the end.
    fn by_sums(containers: &[Compute]) -> Class {
        let sum = |which: fn(&Compute) -> [i128; 2], at: usize| containers.iter().map(|compute| which(compute)[at]).sum::<i128>();
        let (requests, limits) = ([0, 1].map(|at| sum(|c| c.requests(), at)), [0, 1].map(|at| sum(|c| c.limits(), at)));
        if requests == [0, 0] && limits == [0, 0] {
            return Class::BestEffort;
        }
        let all_limited = containers.iter().all(|compute| compute.limits().iter().all(|limit| *limit > 0));
        if all_limited && requests == limits { Class::Guaranteed } else { Class::Burstable }
    }

    /// Request and limit of each resource; a request above its limit would be refused.
    #[derive(Clone, Debug)]
    struct Compute([(Option<i128>, Option<i128>); 2]);

    impl Compute {
        /// With the API server's default: a request that is not there is the limit.
        fn requests(&self) -> [i128; 2] {
            self.0.map(|(request, limit)| request.or(limit).unwrap_or(0))
        }

        fn limits(&self) -> [i128; 2] {
            self.0.map(|(_, limit)| limit.unwrap_or(0))
        }

        fn json(&self) -> Value {
            let mut resources = json!({"requests": {}, "limits": {}});
            for (resource, (request, limit)) in COUNTED.iter().zip(self.0) {
                for (kind, amount) in [("requests", request), ("limits", limit)] {
                    if let Some(amount) = amount {
                        resources[kind][*resource] = format!("{amount}m").into();
                    }
                }
            }
            json!({"resources": resources})
        }
    }

    fn compute() -> impl Strategy<Value = Compute> {
        let one = (proptest::option::of(0..4i128), proptest::option::of(0..4i128))
            .prop_filter("a request above its limit is refused", |(request, limit)| {
                limit.is_none_or(|limit| request.unwrap_or(0) <= limit)
            });
        (one.clone(), one).prop_map(|(cpu, memory)| Compute([cpu, memory]))
    }

    proptest! {
        #[test]
        fn container_by_container_is_the_same_as_by_sums(containers in prop::collection::vec(compute(), 1..4), init in prop::collection::vec(compute(), 0..3)) {
            let json = |list: &[Compute]| list.iter().map(Compute::json).collect::<Value>();
            let spec = json!({"containers": json(&containers), "initContainers": json(&init)});
            prop_assert_eq!(Class::of(&spec), Some(by_sums(&[containers, init].concat())));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eEinumkKMGTP]{0,40}") {
            let _ = nano(&text);
        }
    }
}
