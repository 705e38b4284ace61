//! The one kind of event an edge sends: a name that it had not seen before.

use jiff::Timestamp;

/// A name asked for the first time, as the response to it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewQname {
    /// Second 16-bit word of the DNS header of the response.
    pub flags: u16,
    /// Class of the question.
    pub qclass: u16,
    /// The question's name in presentation form with final dot, case as received.
    pub qname: String,
    /// Type of the question.
    pub qtype: u16,
    /// Time of the response; cut to the minute before it leaves.
    pub timestamp: Timestamp,
}

impl NewQname {
    /// The event's octets: members in Core's order and no others, since analysts discard events with members they do not know.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"flags":{},"qclass":{},"qname":{},"qtype":{},"timestamp":"{}","type":"new_qname","version":0}}"#,
            self.flags,
            self.qclass,
            json_string(&self.qname),
            self.qtype,
            minute(self.timestamp),
        )
    }
}

/// MQTT topic of events of the node that signs with key id `kid`.
#[must_use]
pub fn topic(kid: &str) -> String {
    format!("events/up/{kid}/new_qname")
}

/// The minute's beginning. Rounds towards the past also before 1970, where a plain remainder would not.
fn minute(time: Timestamp) -> Timestamp {
    let seconds = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
    Timestamp::from_second(seconds.div_euclid(60) * 60).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Escapes as Go's encoder does, `<`, `>` and `&` included, so that an event has the same octets as upstream's.
fn json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_octets() {
        let event = NewQname {
            flags: 33152,
            qclass: 1,
            qname: r"a\.<b>&\\.Example.".to_owned(),
            qtype: 28,
            timestamp: "2026-05-28T12:13:59.999999999Z".parse().unwrap(),
        };
        assert_eq!(
            event.to_json(),
            concat!(
                r#"{"flags":33152,"qclass":1,"qname":"a\\.\u003cb\u003e\u0026\\\\.Example.","qtype":28,"#,
                r#""timestamp":"2026-05-28T12:13:00Z","type":"new_qname","version":0}"#
            )
        );
    }

    #[test]
    fn the_minute_is_cut_downwards() {
        let check = |from: &str, to: &str| {
            assert_eq!(minute(from.parse().unwrap()).to_string(), to);
        };
        check("2026-05-28T12:13:00Z", "2026-05-28T12:13:00Z");
        check("2026-05-28T14:13:01.5+02:00", "2026-05-28T12:13:00Z");
        check("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:00Z");
        check("1969-12-31T23:58:59.999999999Z", "1969-12-31T23:58:00Z");
        check("1969-12-31T23:59:00.000000001Z", "1969-12-31T23:59:00Z");
    }

    #[test]
    fn topic_carries_the_node() {
        assert_eq!(topic("edge.example"), "events/up/edge.example/new_qname");
    }
}
