//! Many small random worlds in one zone, each below a label of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tapir_pop::policy::Action;
use tapir_pop::zone::known::action;
use tapir_pop::zone::{LocalData, LocalIndex};
use tapir_table::{Code, Codes, KeyBuf, Palette};
use tapir_wire::name::Name;

use super::ask::Outcome;
use super::fleet::Kind;
use super::universe::{Universe, universes};
use super::versions::Names;

/// Where redirects to a name lead.
pub(crate) const GARDEN: &str = "garden.example.";
/// Where redirects to an address lead.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 78)];
/// Place of the name behind the addresses.
const BY_NAME: u16 = 2;
/// Worlds among which one of a kind is found.
const TRIES: usize = 20_000;
/// Names that are asked of one world.
const ASKED: usize = 50;

/// Local data of all worlds.
pub(crate) fn palette() -> Palette {
    let mut palette = Palette::default();
    for address in ADDRESSES {
        palette.intern(LocalData::Addresses(vec![address.into()]).records().unwrap()).unwrap();
    }
    palette.intern(LocalData::Name(Name::parse(GARDEN).unwrap()).records().unwrap()).unwrap();
    palette
}

/// One world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) universe: Universe,
    label: String,
    /// Whether its second redirect leads to a name, which Knot Resolver cannot do.
    by_name: bool,
}

impl World {
    pub(crate) fn new(number: usize, universe: Universe) -> Self {
        Self { universe, label: format!("u{number}"), by_name: number / 4 % 4 == 3 }
    }

    fn placed(&self, name: &KeyBuf) -> KeyBuf {
        let label = [&[u8::try_from(self.label.len()).unwrap()], self.label.as_bytes()].concat();
        KeyBuf::from_key(&[&label, name.as_bytes()].concat()).unwrap()
    }

    fn redirected(&self, code: Code) -> Code {
        if self.by_name && action(code) == Some(Action::Local(LocalIndex(1))) { Code::set(BY_NAME).unwrap() } else { code }
    }

    /// What is in the zone for it.
    pub(crate) fn zone(&self) -> Names {
        let codes = |codes: &Codes| Codes::new(self.redirected(codes.own), self.redirected(codes.below));
        self.universe.zone().iter().map(|(name, said)| (self.placed(name), codes(said))).collect()
    }

    /// Names to ask, with what should become of them.
    pub(crate) fn questions(&self) -> Vec<(KeyBuf, Outcome)> {
        let all = self.universe.questions();
        // Those that are listed are among the first of each name's; taken evenly, all kinds are there.
        let step = all.len().div_ceil(ASKED).max(1);
        let listed = |name: &KeyBuf| self.universe.sources.iter().any(|source| source.contains_key(name));
        let asked = all.iter().enumerate().filter(|(index, name)| index % step == 0 || listed(name));
        asked.map(|(_, name)| (self.placed(name), self.outcome(self.universe.decide(name)))).collect()
    }

    fn outcome(&self, decided: Option<Action>) -> Outcome {
        match decided {
            None | Some(Action::Passthru) => Outcome::Usual,
            Some(Action::TcpOnly) => Outcome::Truncated,
            Some(Action::Local(LocalIndex(1))) if self.by_name => Outcome::Alias,
            Some(Action::Local(LocalIndex(index))) => Outcome::Address(ADDRESSES[usize::from(index)]),
            Some(Action::Nodata) => Outcome::Nodata,
            Some(Action::Nxdomain) => Outcome::Nxdomain,
            Some(Action::Drop) => Outcome::Silence,
        }
    }

    /// Whether a resolver can do what this one wants.
    pub(crate) fn suits(&self, kind: Kind) -> bool {
        kind != Kind::Knot || !self.by_name
    }
}

/// Makes worlds. A seed in `TAPIR_RESOLVERS_SEED` makes those of an earlier run again.
pub(crate) struct Maker {
    pub(crate) seed: u64,
    runner: TestRunner,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let told = std::env::var("TAPIR_RESOLVERS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = told.unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
        Self { seed, runner: TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng) }
    }

    /// The next one, for this place. Three of four are taken from many, for what only few of them show.
    pub(crate) fn world(&mut self, number: usize) -> World {
        let wanted = |universe: &Universe| match number % 4 {
            0 => true,
            1 => has_names_between(universe, false),
            2 => has_names_between(universe, true),
            _ => has_exempt_names(universe),
        };
        let worlds = universes(6);
        let mut candidates = (0..TRIES).map(|_| worlds.new_tree(&mut self.runner).unwrap().current());
        World::new(number, candidates.find(wanted).expect("one of so many"))
    }
}

/// Whether something has to be said of a name for the only reason that something else has to be said of one below it; `listed` tells whether
/// sources have that name.
fn has_names_between(universe: &Universe, listed: bool) -> bool {
    let listing = |name: &KeyBuf| universe.sources.iter().any(|source| source.contains_key(name));
    universe.sources.iter().flat_map(BTreeMap::keys).any(|name| {
        let decided = blocks(universe, name);
        name.borders().map(|border| name.truncated(border)).filter(|above| above != name).any(|above| {
            let here = blocks(universe, &above);
            let around = around(universe, &above);
            here.is_some() && here == around && here == below(universe, &above) && here != decided && listing(&above) == listed
        })
    })
}

/// Whether a name below a wildcard that blocks is let pass.
fn has_exempt_names(universe: &Universe) -> bool {
    let names = universe.sources.iter().flat_map(BTreeMap::keys);
    names.into_iter().any(|name| blocks(universe, name).is_none() && around(universe, name).is_some())
}

fn blocks(universe: &Universe, name: &KeyBuf) -> Option<Action> {
    universe.decide(name).filter(|action| *action != Action::Passthru)
}

/// What happens to names below this one of which nobody knows.
fn below(universe: &Universe, name: &KeyBuf) -> Option<Action> {
    blocks(universe, &KeyBuf::from_key(&[name.as_bytes(), b"\x07unknown"].concat()).unwrap())
}

/// What happens to names beside this one of which nobody knows.
fn around(universe: &Universe, name: &KeyBuf) -> Option<Action> {
    let above = name.borders().filter(|border| *border < name.len()).last()?;
    below(universe, &name.truncated(above))
}
