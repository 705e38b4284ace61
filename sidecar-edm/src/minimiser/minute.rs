//! What was counted as what is written.

use crate::histogram::{self, Minute};
use crate::histogram_file::{self, Clients, Interval, LABELS, Row};

/// What was counted in an interval.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) interval: Interval,
    pub(super) minute: Minute,
}

impl histogram_file::Minute for Finished {
    fn interval(&self) -> Interval {
        self.interval
    }

    fn is_empty(&self) -> bool {
        self.minute.is_empty()
    }

    fn rows(&self, take: &mut dyn FnMut(&Row<'_>)) {
        for row in self.minute.rows() {
            let mut labels = [None; LABELS];
            for (slot, label) in labels.iter_mut().zip(row.labels.iter()) {
                *slot = label;
            }
            let [a, aaaa, mx, ns, other_type, non_in, ok, nx, fail, other_rcode] = row.counters;
            let (v4, v6) = (clients(&row.v4), clients(&row.v6));
            let status_bits = row.status_bits;
            take(&Row { labels, a, aaaa, mx, ns, other_type, non_in, ok, nx, fail, other_rcode, status_bits, v4, v6 });
        }
    }
}

fn clients(clients: &histogram::Clients) -> Clients<'_> {
    Clients { count: clients.count, sketch: clients.sketch.as_deref() }
}
