//! The events that `/status` and Core are told of.

use std::collections::VecDeque;

use tapir_wire::status::EventStatus;

/// Events that are remembered.
const MOST: usize = 16;

/// The newest ones.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<EventStatus>);

impl History {
    /// One more; the oldest goes where there are too many.
    pub fn push(&mut self, event: EventStatus) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    /// All of them, the newest last.
    #[must_use]
    pub fn all(&self) -> Vec<EventStatus> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut history = History::default();
        for number in 0..40 {
            let (id, component, message) = (number.to_string(), String::new(), String::new());
            history.push(EventStatus { id, time: jiff::Timestamp::UNIX_EPOCH, component, message });
        }
        let all = history.all();
        assert_eq!((all.len(), &*all[0].id, &*all[15].id), (16, "24", "39"));
    }
}
