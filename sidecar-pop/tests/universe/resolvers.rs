//! How resolvers read a policy zone.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use tapir_table::{Code, KeyBuf};

use super::Zone;

/// A zone, prepared for being asked.
pub struct Resolvers<'a> {
    zone: &'a Zone,
    /// Every name that exists because it or something below it has records.
    nodes: BTreeSet<KeyBuf>,
    /// Owners as they stand in the zone, and what each says; in the order of unbound's tree, and in that of RFC 4034.
    owners: [Vec<(KeyBuf, Code)>; 2],
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The wildcard of the nearest ancestor that has one: PowerDNS Recursor (`filterpo.cc`), Knot Resolver (`policy.lua`).
    NearestWildcard,
    /// RFC 4592: the wildcard of the closest encloser, which may be an empty non-terminal, or nothing: BIND.
    ClosestEncloser,
    /// unbound (`rpz.c`, `rpz_find_zone`): what the name has in common with the owner before it, in its tree (labels by length
    /// first), counts as the closest encloser.
    Predecessor,
    /// The same, should the tree be in canonical order.
    CanonicalPredecessor,
}

pub const MODELS: [Model; 4] = [Model::NearestWildcard, Model::ClosestEncloser, Model::Predecessor, Model::CanonicalPredecessor];

impl<'a> Resolvers<'a> {
    pub fn new(zone: &'a Zone) -> Self {
        let nodes = zone.keys().flat_map(|key| key.borders().map(|border| key.truncated(border))).collect();
        let wildcard = |key: &KeyBuf| KeyBuf::from_key(&[key.as_bytes(), b"\x01*"].concat()).unwrap();
        let mut owners: Vec<(KeyBuf, Code)> = Vec::new();
        for (key, codes) in zone {
            owners.extend((!codes.own.is_silent()).then_some((*key, codes.own)));
            owners.extend((!codes.below.is_silent()).then(|| (wildcard(key), codes.below)));
        }
        owners.sort();
        let mut canonical = owners.clone();
        canonical.sort_by(|(one, _), (other, _)| in_canonical_order(one, other));
        Self { zone, nodes, owners: [owners, canonical] }
    }

    /// What becomes of a name.
    pub fn ask(&self, model: Model, name: &KeyBuf) -> Code {
        match model {
            Model::NearestWildcard => self.nearest_wildcard(name),
            Model::ClosestEncloser => self.closest_encloser(name),
            Model::Predecessor => predecessor(&self.owners[0], name, Ord::cmp),
            Model::CanonicalPredecessor => predecessor(&self.owners[1], name, in_canonical_order),
        }
    }

    fn own(&self, name: &KeyBuf) -> Code {
        self.zone.get(name).map_or(Code::SILENT, |codes| codes.own)
    }

    fn below(&self, name: &KeyBuf) -> Code {
        self.zone.get(name).map_or(Code::SILENT, |codes| codes.below)
    }

    fn nearest_wildcard(&self, name: &KeyBuf) -> Code {
        let own = self.own(name);
        if !own.is_silent() {
            return own;
        }
        ancestors(name).map(|above| self.below(&above)).find(|code| !code.is_silent()).unwrap_or_default()
    }

    fn closest_encloser(&self, name: &KeyBuf) -> Code {
        if self.nodes.contains(name) {
            return self.own(name);
        }
        ancestors(name).find(|above| self.nodes.contains(above)).map_or(Code::SILENT, |above| self.below(&above))
    }
}

fn predecessor(owners: &[(KeyBuf, Code)], name: &KeyBuf, order: impl Fn(&KeyBuf, &KeyBuf) -> Ordering) -> Code {
    let find =
        |name: &KeyBuf| owners.partition_point(|(owner, _)| order(owner, name).is_le()).checked_sub(1).map(|at| owners[at]);
    let Some((owner, code)) = find(name) else { return Code::SILENT };
    if owner == *name {
        return code;
    }
    let common = tapir_table::common_prefix(owner.as_bytes(), name.as_bytes());
    let Some(above) = ancestors(name).find(|above| above.len() <= common && owner.borders().any(|border| border == above.len()))
    else {
        return Code::SILENT;
    };
    let wildcard = KeyBuf::from_key(&[above.as_bytes(), b"\x01*"].concat()).unwrap();
    find(&wildcard).filter(|(owner, _)| *owner == wildcard).map_or(Code::SILENT, |(_, code)| code)
}

/// The names above, the nearest first, without the root.
fn ancestors(name: &KeyBuf) -> impl Iterator<Item = KeyBuf> {
    let borders: Vec<usize> = name.borders().filter(|border| *border < name.len()).collect();
    let name = *name;
    borders.into_iter().rev().map(move |border| name.truncated(border))
}

/// RFC 4034 section 6.1.
fn in_canonical_order(one: &KeyBuf, other: &KeyBuf) -> Ordering {
    let labels = |key: &KeyBuf| key.labels().map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev();
    labels(one).cmp(labels(other))
}
