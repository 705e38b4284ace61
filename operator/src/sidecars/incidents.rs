//! Exceptional events that sidecars tell of in `/status`, each of which becomes part of one Kubernetes Event with the identifier that it has
//! in the sidecar's log and in telemetry.

use jiff::Timestamp;
use tapir_wire::status::EventStatus;

/// Told in one Event; more are counted.
const TOLD: usize = 3;
/// Longest message of one.
const LONGEST: usize = 250;

/// Those of one edge that nobody was told of yet.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    first: Vec<String>,
    more: usize,
}

impl Incidents {
    /// Takes those of a Pod that are newer than `told`, and moves that. Whether there were any.
    pub(super) fn take_in(&mut self, pod: &str, events: &[EventStatus], told: &mut Timestamp) -> bool {
        let since = *told;
        let mut any = false;
        for event in events.iter().filter(|event| event.time > since) {
            any = true;
            *told = event.time.max(*told);
            if self.first.len() == TOLD {
                self.more += 1;
                continue;
            }
            let message: String = event.message.chars().take(LONGEST).collect();
            self.first.push(format!("Pod {pod}: {}: {message} (event {})", event.component, event.id));
        }
        any
    }

    /// All of them in one note. They are not told again.
    pub(super) fn take(&mut self) -> Option<String> {
        let Self { first, more } = std::mem::take(self);
        let mut note = first.join("; ");
        if more > 0 {
            note.push_str(&format!("; and {more} more, which /status of the sidecars has"));
        }
        (!note.is_empty()).then_some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, message: &str) -> EventStatus {
        let time = Timestamp::from_second(second).unwrap();
        EventStatus { id: format!("id-{second}"), time, component: "rpz".into(), message: message.into() }
    }

    #[test]
    fn each_is_told_once_and_many_in_few_words() {
        let (mut incidents, mut told) = (Incidents::default(), Timestamp::from_second(10).unwrap());
        assert!(!incidents.take_in("p", &[event(9, "before the operator began"), event(10, "then")], &mut told));
        assert_eq!(incidents.take(), None);
        assert!(incidents.take_in("p", &[event(9, "before"), event(11, "no room")], &mut told));
        assert!(!incidents.take_in("p", &[event(11, "no room")], &mut told));
        assert_eq!(incidents.take().unwrap(), "Pod p: rpz: no room (event id-11)");
        let many: Vec<_> = (20..30).map(|second| event(second, &"x".repeat(LONGEST * 2))).collect();
        assert!(incidents.take_in("q", &many, &mut told));
        let note = incidents.take().unwrap();
        assert!(note.contains("id-20") && note.contains("id-22") && !note.contains("id-23"), "{note}");
        assert!(note.ends_with("; and 7 more, which /status of the sidecars has") && note.chars().count() < 1000, "{note}");
        assert_eq!(incidents.take(), None);
    }
}
