//! Minutes of a few rows.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tapir_edm::histogram_file::{Clients, Interval, Minute, Row, labels};

/// Rows with names of the list, numbers drawn from their place, and sketches in some.
pub struct Sample {
    pub interval: Interval,
    pub names: Vec<String>,
}

impl Sample {
    /// `rows` rows in a minute that begins `minute` minutes after a fixed one.
    pub fn new(minute: i64, rows: usize) -> Self {
        let start = jiff::Timestamp::from_microsecond(1_779_969_600_000_123 + minute * 60_000_000).unwrap();
        let interval = Interval { start, stop: start + jiff::SignedDuration::from_secs(60) };
        Self { interval, names: (0..rows).map(|row| format!("n{row}.example.")).collect() }
    }
}

impl Minute for Sample {
    fn interval(&self) -> Interval {
        self.interval
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn rows(&self, take: &mut dyn FnMut(&Row<'_>)) {
        let mut rest = String::new();
        for (place, name) in (0..).zip(&self.names) {
            // No two alike: what does not compress, as real ones.
            let sketch: Vec<u8> =
                (0..515_u64).map(|octet| (octet.wrapping_mul(place | 1).wrapping_mul(0x9e37_79b9) >> 11) as u8).collect();
            let sketch = (place % 3 == 0).then_some(&sketch[..]);
            take(&Row {
                labels: labels(name, &mut rest),
                a: place,
                ok: place,
                status_bits: 1,
                v4: Clients { count: place % 50, sketch },
                ..Row::default()
            });
        }
    }
}
