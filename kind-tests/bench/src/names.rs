//! Names as public lists have them: top-level domains by Zipf's law, second levels of 4 to 25 octets, some with hosts in front. The same
//! names each time.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

const SEED: u64 = 5;
/// The most common first.
const TOPS: [&str; 48] = [
    "com", "net", "org", "ru", "de", "info", "xyz", "top", "uk", "cn", "online", "site", "club", "shop", "fr", "nl", "br", "it",
    "pl", "eu", "in", "se", "us", "biz", "cc", "co", "io", "me", "tk", "ml", "ga", "icu", "live", "pro", "space", "store", "win",
    "bid", "loan", "app", "dev", "ch", "at", "cz", "jp", "au", "ca", "es",
];
const SYLLABLES: [&str; 48] = [
    "a", "an", "ar", "be", "bit", "ca", "cloud", "con", "da", "data", "de", "do", "e", "el", "en", "er", "fa", "fi", "go", "ho",
    "i", "in", "ka", "la", "le", "li", "line", "lo", "ma", "me", "mo", "na", "net", "ni", "o", "on", "pa", "pay", "ra", "re",
    "ro", "sa", "shop", "so", "ta", "ti", "track", "web",
];
const HOSTS: [&str; 12] = ["www", "ads", "track", "cdn", "mail", "m", "api", "click", "static", "img", "login", "s3"];

/// Gives names, none twice.
#[derive(Debug)]
pub(crate) struct Names {
    state: u64,
    seen: HashSet<u64>,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self { state: SEED, seen: HashSet::new() }
    }

    pub(crate) fn some(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.one()).collect()
    }

    pub(crate) fn one(&mut self) -> String {
        loop {
            let name = self.any();
            if self.seen.insert(hash(&name)) {
                return name;
            }
        }
    }

    fn any(&mut self) -> String {
        let second = format!("{}.{}", self.label(), self.top());
        match self.below(10) {
            0 | 1 => format!("{}.{second}", self.of(&HOSTS)),
            2 => format!("{}.{second}", self.label()),
            _ => second,
        }
    }

    /// One of rank r as often as 1/r.
    fn top(&mut self) -> &'static str {
        let weights = || TOPS.iter().zip(1_u32..).map(|(top, rank)| (*top, 1.0 / f64::from(rank)));
        let all: f64 = weights().map(|(_, weight)| weight).sum();
        let mut left = all * (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        for (top, weight) in weights() {
            left -= weight;
            if left < 0.0 {
                return top;
            }
        }
        TOPS[0]
    }

    fn label(&mut self) -> String {
        let mut label = String::new();
        for _ in 0..2 + self.below(5) {
            label.push_str(self.of(&SYLLABLES));
        }
        match self.below(10) {
            0 => label.push_str(&self.below(10_000).to_string()),
            1 => label.insert(label.len() / 2, '-'),
            2 => label.insert_str(0, &format!("{:x}", self.next() & 0xf_ffff)),
            _ => {}
        }
        label.truncate(30);
        label
    }

    fn of(&mut self, words: &[&'static str]) -> &'static str {
        let index = self.below(words.len() as u64) as usize;
        words.get(index).copied().unwrap_or("a")
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// SplitMix64.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Stands for a name where many are compared.
pub(crate) fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_each_different_and_the_same_in_each_run() {
        let names = Names::new().some(5000);
        assert_eq!(names, Names::new().some(5000));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 5000);
        for name in &names {
            tapir_wire::name::Name::parse(name).unwrap();
        }
        let in_com = names.iter().filter(|name| name.ends_with(".com")).count();
        assert!((1000..1300).contains(&in_com), "{in_com}");
        let octets: usize = names.iter().map(|name| name.len()).sum();
        assert!((14..22).contains(&(octets / 5000)), "{octets}");
    }
}
