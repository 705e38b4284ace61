//! Names as they stand in public lists: most below a few large zones, second level of 4 to 25 octets, some with hosts.

use tapir_table::{KeyBuf, MAX_KEY};

/// Numbers that look random and are the same each time.
pub struct Numbers(u64);

impl Numbers {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

const TOPS: [&str; 40] = [
    "com", "net", "org", "ru", "de", "info", "xyz", "top", "uk", "cn", "online", "site", "club", "shop", "fr", "nl", "br", "it",
    "pl", "eu", "in", "se", "us", "biz", "cc", "co", "io", "me", "tk", "ml", "ga", "icu", "live", "pro", "space", "store", "win",
    "bid", "loan", "app",
];
const SYLLABLES: [&str; 48] = [
    "a", "an", "ar", "be", "bit", "ca", "cloud", "con", "da", "data", "de", "do", "e", "el", "en", "er", "fa", "fi", "go", "ho",
    "i", "in", "ka", "la", "le", "li", "line", "lo", "ma", "me", "mo", "na", "net", "ni", "o", "on", "pa", "pay", "ra", "re",
    "ro", "sa", "shop", "so", "ta", "ti", "track", "web",
];
const HOSTS: [&str; 12] = ["www", "ads", "track", "cdn", "mail", "m", "api", "click", "static", "img", "login", "s3"];

/// One label of 1 to 30 octets.
fn label(numbers: &mut Numbers) -> String {
    let mut label = String::new();
    for _ in 0..2 + numbers.below(5) {
        label.push_str(SYLLABLES[numbers.below(SYLLABLES.len())]);
    }
    match numbers.below(10) {
        0 => label.push_str(&numbers.below(10_000).to_string()),
        1 => label.insert(label.len() / 2, '-'),
        2 => label.insert_str(0, &format!("{:x}", numbers.next() & 0xf_ffff)),
        _ => {}
    }
    label.truncate(30);
    label
}

/// A name in presentation form.
pub fn name(numbers: &mut Numbers) -> String {
    // Half below the first, the rest falling off as ranks do.
    let top = match numbers.below(100) {
        0..45 => 0,
        other => 1 + (other * other / 250 + numbers.below(1 + other / 8)) % (TOPS.len() - 1),
    };
    let second = format!("{}.{}", label(numbers), TOPS[top]);
    match numbers.below(10) {
        0 | 1 => format!("{}.{second}", HOSTS[numbers.below(HOSTS.len())]),
        2 => format!("{}.{second}", label(numbers)),
        _ => second,
    }
}

/// So many different keys, ascending.
pub fn sorted(count: usize, seed: u64) -> Vec<KeyBuf> {
    let mut numbers = Numbers::new(seed);
    let mut keys = std::collections::BTreeSet::new();
    while keys.len() < count {
        let key = KeyBuf::from_text(&name(&mut numbers), MAX_KEY).unwrap();
        keys.insert(Box::<[u8]>::from(key.as_bytes()));
    }
    keys.iter().map(|key| KeyBuf::from_key(key).unwrap()).collect()
}
