//! Several measurements of one thing.

/// The value in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The smallest value that so large a share of all does not exceed.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
    values.get(index).copied().unwrap_or_default()
}

/// All of them, for people.
pub(crate) fn spread(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn quantiles_are_values() {
        let mut values: Vec<f64> = (1..=400).rev().map(f64::from).collect();
        assert_eq!((super::median(&mut values), super::quantile(&mut values, 0.99)), (200.0, 396.0));
        assert_eq!(super::median(&mut [3.0, 1.0, 2.0]), 2.0);
    }
}
