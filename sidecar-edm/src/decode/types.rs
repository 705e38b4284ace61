//! Which dnstap messages count.

/// Types of the schema, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::FromRepr, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the schema")]
pub enum MessageType {
    AuthQuery = 1,
    AuthResponse = 2,
    ResolverQuery = 3,
    ResolverResponse = 4,
    ClientQuery = 5,
    ClientResponse = 6,
    ForwarderQuery = 7,
    ForwarderResponse = 8,
    StubQuery = 9,
    StubResponse = 10,
    ToolQuery = 11,
    ToolResponse = 12,
    UpdateQuery = 13,
    UpdateResponse = 14,
}

/// The odd numbers from 1 to 13.
const QUERIES: u32 = 0x2aaa;

/// A set of types. Queries are never in it: they say nothing that their responses do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedTypes {
    /// One bit for each of the numbers below 32.
    low: u32,
    /// All the other numbers.
    others: bool,
}

impl Default for CountedTypes {
    /// Upstream counts every type that is not a query, so that what a resolver asks for itself is taken for a client's question.
    fn default() -> Self {
        Self::CLIENT_RESPONSES
    }
}

impl CountedTypes {
    /// CLIENT_RESPONSE only.
    pub const CLIENT_RESPONSES: Self = Self { low: 1 << MessageType::ClientResponse as u32, others: false };
    /// Everything but the queries of the schema, numbers of no schema included, as upstream.
    pub const ALL_RESPONSES: Self = Self { low: !QUERIES, others: true };

    /// These, without the queries among them.
    #[must_use]
    pub fn of(types: impl IntoIterator<Item = MessageType>) -> Self {
        let low = types.into_iter().fold(0, |set, each| set | 1 << each as u32);
        Self { low: low & !QUERIES, others: false }
    }

    /// Whether this number is in it.
    #[inline]
    #[must_use]
    pub const fn counts(self, number: i32) -> bool {
        if number >= 0 && number < 32 { self.low >> number & 1 == 1 } else { self.others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_types() {
        let numbers = |types: CountedTypes| (-2..40).filter(|number| types.counts(*number)).collect::<Vec<_>>();
        assert_eq!(numbers(CountedTypes::default()), [6]);
        let all: Vec<_> = (-2..40).filter(|number| ![1, 3, 5, 7, 9, 11, 13].contains(number)).collect();
        assert_eq!(numbers(CountedTypes::ALL_RESPONSES), all);
        assert!(CountedTypes::ALL_RESPONSES.counts(i32::MIN) && CountedTypes::ALL_RESPONSES.counts(99));
        let some = ["CLIENT_RESPONSE", "CLIENT_QUERY", "FORWARDER_RESPONSE"].map(|name| name.parse().unwrap());
        assert_eq!(numbers(CountedTypes::of(some)), [6, 8]);
        assert_eq!(<&str>::from(MessageType::ToolResponse), "TOOL_RESPONSE");
    }
}
