//! What the zone has to be told: what each source says of a name, and what follows from it.

use std::fmt::Debug;

use tapir_table::{Code, Codes, Cursor, Hit, KeyBuf, ReadError, Value};

/// Decides about a name from what sources say of it and of everything above it. What they say is gathered on the way down, so
/// that a walk through millions of names in order looks at each entry once.
///
/// Two laws hold: without hits a name is decided like the names below its parent, `own(inherited, &[]) == below(inherited)`; and
/// what nothing is known of is left alone, `below(&default) == SILENT`. [`Code::PASSTHRU`] is what is acted on and only logged;
/// what is exempt is silent, the zone finds out itself where that has to be said.
pub trait Judge {
    /// What a source says of a name.
    type Value: Value;
    /// What is known of all names below a name that are not listed themselves. The default: nothing.
    type Inherited: Clone + Default + Debug;

    /// Whether any of this says something about names below.
    fn reaches(&self, hits: &[Hit<Self::Value>]) -> bool;

    /// What happens to a name; `inherited` is its parent's.
    fn own(&self, inherited: &Self::Inherited, hits: &[Hit<Self::Value>]) -> Code;

    /// Goes from what holds below a name's parent to what holds below the name. Asked where [`Judge::reaches`] says so.
    fn descend(&self, inherited: &mut Self::Inherited, hits: &[Hit<Self::Value>]);

    /// What happens to names of which nothing but this is known.
    fn below(&self, inherited: &Self::Inherited) -> Code;
}

/// A walk through a source.
pub type SourceCursor<V> = Box<dyn Cursor<Value = V> + Send>;

/// Everything that one source says. Its place among the others is the index in [`Hit`].
pub trait Source {
    /// What it says of a name.
    type Value: Value;

    /// Appends what it says of `key` and of its ancestors: length of each, and the value.
    fn path(&self, key: &[u8], to: &mut Vec<(usize, Self::Value)>) -> Result<(), ReadError>;

    /// All of it, in order.
    fn cursor(&self) -> SourceCursor<Self::Value>;
}

/// Octets that `*.` adds.
const WILDCARD_OCTETS: usize = 2;

/// Labels that make a name a trigger of another kind (draft-vixie-dnsop-dns-rpz section 4), as they stand at the top of a key.
const OTHER_TRIGGERS: [&[u8]; 4] = [b"\x06rpz-ip", b"\x0drpz-client-ip", b"\x08rpz-nsip", b"\x0brpz-nsdname"];

/// Whether a name can be an owner and mean itself. Whoever takes names in refuses the others with a reason; one that got through
/// would make every later transfer fail, so it stops here. What is below such a name is none either.
fn is_owner(key: &KeyBuf, room: usize) -> bool {
    let octets = key.as_bytes();
    (1..=room).contains(&octets.len())
        && !(octets.contains(&b'*') && key.labels().any(|label| label == b"*"))
        && !OTHER_TRIGGERS.iter().any(|trigger| octets.starts_with(trigger))
}

/// What has to stand in the zone for a name where its surroundings are answered with `around` (what its parent says below itself)
/// and it should be answered with `wanted`. `holds` says whether something below it stands in the zone.
///
/// Where the surroundings are silent, silence means what it should. Where a wildcard covers the name, either nothing is said, or
/// both for the name and below it: resolvers differ in what the name's mere existence does to the wildcard above. BIND
/// stops at every node, empty ones included (RFC 4592 section 2.2.2), unbound at some of them.
pub(super) fn published(key: &KeyBuf, room: usize, around: Code, wanted: Codes, holds: bool) -> Codes {
    let fits = key.len() + WILDCARD_OCTETS <= room;
    if !is_owner(key, room) {
        return Codes::SILENT;
    }
    if around.is_silent() {
        return Codes { below: if fits { wanted.below } else { Code::SILENT }, ..wanted };
    }
    let said = |code: Code| if code.is_silent() { Code::PASSTHRU } else { code };
    let own = said(wanted.own);
    // No name is so long that it could stand below this one and be asked for.
    let below = if fits { said(wanted.below) } else { around };
    if own == around && below == around && !holds {
        return Codes::SILENT;
    }
    Codes { own, below: if fits { below } else { Code::SILENT } }
}

/// How names below a name are answered, where `around` is answered to those beside it and `below` was decided. Where what is acted on
/// is only logged, an exempt name below a wildcard is answered like everything else there, and so is what is below it.
pub(super) fn answered_below(around: Code, below: Code) -> Code {
    if around == Code::PASSTHRU { around } else { below }
}

/// Whether `key` is `above` or stands below it.
pub(super) fn is_within(key: &KeyBuf, above: &KeyBuf) -> bool {
    key.as_bytes().starts_with(above.as_bytes())
}
