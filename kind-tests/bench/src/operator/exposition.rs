//! Reads the text that Prometheus reads.

/// The sum of a metric over all its label sets that hold all of `labels`; none when it is not there.
pub(crate) fn sum(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    samples(text, name)
        .filter(|(found, _)| labels.iter().all(|label| found.contains(label)))
        .map(|(_, value)| value)
        .reduce(|a, b| a + b)
}

/// The upper bound of the bucket in which a share of all observations lies, by the difference of two readings of a histogram.
pub(crate) fn quantile(before: &str, after: &str, name: &str, labels: &[&str], share: f64) -> Option<f64> {
    let bucket = format!("{name}_bucket");
    let mut bounds: Vec<f64> = samples(after, &bucket).filter_map(|(found, _)| bound(found)).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let below = |text: &str, limit: f64| {
        samples(text, &bucket)
            .filter(|(found, _)| labels.iter().all(|label| found.contains(label)) && bound(found) == Some(limit))
            .map(|(_, count)| count)
            .sum::<f64>()
    };
    let counts: Vec<(f64, f64)> = bounds.iter().map(|limit| (*limit, below(after, *limit) - below(before, *limit))).collect();
    let all = counts.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    counts.iter().find(|(_, count)| *count >= all * share).map(|(limit, _)| *limit)
}

fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = if let Some(rest) = rest.strip_prefix('{') { rest.rsplit_once('}')? } else { ("", rest) };
        if labels.is_empty() && !rest.starts_with([' ', '{']) {
            return None;
        }
        Some((labels, value.trim().split(' ').next()?.parse().ok()?))
    })
}

fn bound(labels: &str) -> Option<f64> {
    let (_, rest) = labels.split_once("le=\"")?;
    let (bound, _) = rest.split_once('"')?;
    if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE t histogram\nt_bucket{c=\"edge\",le=\"0.001\"} 0\nt_bucket{c=\"edge\",le=\"0.005\"} 0\nt_bucket{c=\"edge\",le=\"+Inf\"} 5\n";
    const AFTER: &str = "t_bucket{c=\"edge\",le=\"0.001\"} 90\nt_bucket{c=\"edge\",le=\"0.005\"} 100\nt_bucket{c=\"edge\",le=\"+Inf\"} 105\nt_bucket{c=\"x\",le=\"+Inf\"} 9\nn 3\nn_more 4\nm{a=\"b\"} 2\nm{a=\"c\"} 5\n";

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        assert_eq!(quantile(BEFORE, AFTER, "t", &["c=\"edge\""], 0.5), Some(0.001));
        assert_eq!(quantile(BEFORE, AFTER, "t", &["c=\"edge\""], 0.99), Some(0.005));
        assert_eq!(quantile(AFTER, AFTER, "t", &["c=\"edge\""], 0.99), None);
    }

    #[test]
    fn sums_go_over_label_sets() {
        assert_eq!(
            (sum(AFTER, "n", &[]), sum(AFTER, "m", &[]), sum(AFTER, "m", &["a=\"c\""])),
            (Some(3.0), Some(7.0), Some(5.0))
        );
        assert_eq!(sum(AFTER, "absent", &[]), None);
    }
}
