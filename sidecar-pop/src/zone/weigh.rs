//! The policy, asked on the way down a name: what sources say of it and of its ancestors becomes evidence, evidence a code.

use tapir_table::{Code, Hit};
use tapir_wire::config::pop::{List, Match, Mode};

use super::judge::Judge;
use super::known::{Known, action, code};
use crate::policy::{Decision, Evidence, Finding, Policy};

/// What the policy thinks of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its class.
    pub list: List,
    /// Whether a name in it means the names below too.
    pub r#match: Match,
    /// Whether its codes are records of somebody's policy zone.
    pub records: bool,
    /// Whether their actions are wanted in place of the policy's.
    pub keeps_action: bool,
}

/// Decides as the policy says. Sources are told apart by their place.
#[derive(Clone, Debug)]
pub struct Weigh {
    /// Actions and rules.
    pub policy: Policy,
    /// Whether matches are acted on.
    pub mode: Mode,
    /// All sources, in order.
    pub origins: Vec<Origin>,
}

/// What a source says of all names below one. Feeds are read as unbound, PowerDNS and Knot read them: the nearest wildcard counts,
/// names without records do not stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    source: usize,
    said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Code(Code),
    /// Those of all observations above.
    Tags(u32),
}

impl Weigh {
    fn origin(&self, source: usize) -> Option<&Origin> {
        self.origins.get(source)
    }

    /// What a source says of a name itself, where it says something of its own.
    fn of_name(value: Known, inherited: Option<Said>) -> Option<Said> {
        match value {
            Known::Listed(codes) if !codes.own.is_silent() => Some(Said::Code(codes.own)),
            Known::Observed(tags) => Some(Said::Tags(tags | tags_of(inherited))),
            Known::Listed(_) | Known::Nothing => inherited,
        }
    }

    /// What it says of names below.
    fn of_below(origin: &Origin, value: Known, inherited: Option<Said>) -> Option<Said> {
        let subtree = origin.r#match == Match::Subtree;
        match value {
            Known::Listed(codes) if !codes.below.is_silent() => Some(Said::Code(codes.below)),
            Known::Listed(codes) if subtree && !codes.own.is_silent() => Some(Said::Code(codes.own)),
            Known::Observed(tags) if subtree => Some(Said::Tags(tags | tags_of(inherited))),
            _ => inherited,
        }
    }

    fn add(&self, evidence: &mut Evidence, source: usize, said: Option<Said>) {
        let (Some(said), Some(origin)) = (said, self.origin(source)) else { return };
        evidence.add(&match said {
            Said::Tags(tags) => Finding::observed(origin.list, tags),
            Said::Code(code) => match action(code).filter(|_| origin.records) {
                Some(record) => Finding::recorded(origin.list, record, origin.keeps_action),
                None => Finding::listed(origin.list),
            },
        });
    }

    fn decide(&self, evidence: &Evidence) -> Code {
        self.published(&self.policy.judge(evidence))
    }

    /// What a decision makes of a name.
    pub(crate) fn published(&self, decision: &Decision) -> Code {
        decision.published(self.mode).map_or(Code::SILENT, code)
    }

    /// What is decided of a name itself.
    pub(crate) fn decision(&self, inherited: &[Word], hits: &[Hit<Known>]) -> Decision {
        let mut evidence = Evidence::default();
        // In the order of the sources: of two redirects the first one counts.
        let mut words = inherited.iter().peekable();
        for hit in hits {
            while let Some(word) = words.next_if(|word| word.source < hit.index) {
                self.add(&mut evidence, word.source, Some(word.said));
            }
            let above = words.next_if(|word| word.source == hit.index).map(|word| word.said);
            self.add(&mut evidence, hit.index, Self::of_name(hit.value, above));
        }
        for word in words {
            self.add(&mut evidence, word.source, Some(word.said));
        }
        self.policy.judge(&evidence)
    }
}

impl Judge for Weigh {
    type Value = Known;
    /// In the order of the sources.
    type Inherited = Vec<Word>;

    fn reaches(&self, hits: &[Hit<Known>]) -> bool {
        hits.iter().any(|hit| match hit.value {
            Known::Nothing => false,
            Known::Listed(codes) if !codes.below.is_silent() => true,
            _ => self.origin(hit.index).is_some_and(|origin| origin.r#match == Match::Subtree),
        })
    }

    fn own(&self, inherited: &Vec<Word>, hits: &[Hit<Known>]) -> Code {
        self.published(&self.decision(inherited, hits))
    }

    fn descend(&self, inherited: &mut Vec<Word>, hits: &[Hit<Known>]) {
        for hit in hits {
            let Some(origin) = self.origin(hit.index) else { continue };
            let place = inherited.binary_search_by_key(&hit.index, |word| word.source);
            let word = place.ok().and_then(|at| inherited.get_mut(at));
            let Some(said) = Self::of_below(origin, hit.value, word.as_ref().map(|word| word.said)) else { continue };
            match (word, place) {
                (Some(word), _) => word.said = said,
                (None, Ok(at) | Err(at)) => inherited.insert(at, Word { source: hit.index, said }),
            }
        }
    }

    fn below(&self, inherited: &Vec<Word>) -> Code {
        let mut evidence = Evidence::default();
        for word in inherited {
            self.add(&mut evidence, word.source, Some(word.said));
        }
        self.decide(&evidence)
    }
}

const fn tags_of(said: Option<Said>) -> u32 {
    match said {
        Some(Said::Tags(tags)) => tags,
        _ => 0,
    }
}
