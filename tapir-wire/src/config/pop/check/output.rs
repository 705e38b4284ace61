//! The zone and where it goes.

use super::super::{Access, Client, PopConfig, Soa};
use super::{Problem, Problems, can_be_sent_to, check_file, within};
use crate::name::Name;

/// A week: whatever is meant to be longer than that is a mistake of units.
const LONGEST_SECONDS: u32 = 7 * 24 * 3600;
/// Addresses and networks, keys, resolvers.
const MOST: usize = 64;

impl PopConfig {
    pub(super) fn output_problems(&self) -> Problems {
        let mut problems = Vec::new();
        if !(1..=16).contains(&self.listen.len()) {
            problems.push(Problem::new("listen", format!("holds {}", self.listen.len()), "give 1 to 16 addresses with port"));
        }
        for (index, address) in self.listen.iter().enumerate() {
            if self.listen.iter().take(index).any(|other| other == address) {
                problems.push(Problem::new(format!("listen[{index}]"), "stands twice", "give each address once"));
            }
        }
        if self.notify.len() > MOST {
            problems.push(Problem::new("notify", format!("holds {}", self.notify.len()), format!("give {MOST} at most")));
        }
        for (index, target) in self.notify.iter().enumerate() {
            let field = format!("notify[{index}]");
            if !can_be_sent_to(&target.address) {
                let remedy = "give address and port of a resolver, as 127.0.0.1:53";
                problems.push(Problem::new(&field, "cannot be sent to", remedy));
            }
            if self.notify.iter().take(index).any(|other| other.address == target.address) {
                problems.push(Problem::new(&field, "stands twice", "give each resolver once"));
            }
            problems.extend(target.tsig_key_file.iter().filter_map(|file| check_file(format!("{field}.tsigKeyFile"), file)));
        }
        problems.extend(self.soa.problems());
        problems.extend(self.access.problems());
        if let Some(file) = &self.zone_file
            && (!file.path.is_absolute() || file.path.file_name().is_none())
        {
            let remedy = "write it from the root, as /var/lib/tapir/pop/rpz/dnstapir.zone";
            problems.push(Problem::new("zoneFile.path", "is not the absolute path of a file", remedy));
        }
        problems.extend(within("publishIntervalMilliseconds", self.publish_interval_milliseconds, 1..=60_000));
        problems.extend(self.journal.octets.and_then(|octets| within("journal.octets", octets, 65_536..=u64::from(u32::MAX))));
        problems.extend(self.journal.serials.and_then(|serials| within("journal.serials", serials, 1..=65_536)));
        let octets = 1_048_576..=1 << 40;
        problems
            .extend(self.limits.observation_octets.and_then(|limit| within("limits.observationOctets", limit, octets.clone())));
        problems.extend(self.limits.source_octets.and_then(|limit| within("limits.sourceOctets", limit, octets)));
        problems.extend(self.limits.connections.and_then(|limit| within("limits.connections", limit, 1..=10_000)));
        problems
    }
}

impl Soa {
    fn problems(&self) -> Problems {
        let mut problems = Vec::new();
        for (field, name) in [("soa.mname", &self.mname), ("soa.rname", &self.rname)] {
            if let Err(error) = Name::parse(name) {
                problems.push(Problem::new(field, format!("is no name ({error})"), "write it as hostmaster.example."));
            }
        }
        problems.extend(within("soa.refreshSeconds", self.refresh_seconds, 1..=LONGEST_SECONDS));
        problems.extend(within("soa.retrySeconds", self.retry_seconds, 1..=LONGEST_SECONDS));
        problems.extend(within("soa.minimumSeconds", self.minimum_seconds, 0..=LONGEST_SECONDS));
        problems.extend(within("soa.expireSeconds", self.expire_seconds, 60..=4 * LONGEST_SECONDS));
        // RFC 1912 section 2.2: a zone that expires before it is asked for again would be gone most of the time.
        if self.expire_seconds < self.refresh_seconds.saturating_add(self.retry_seconds) {
            let remedy = "use more, or resolvers would drop the zone before they ask for it again";
            problems.push(Problem::new("soa.expireSeconds", "is less than refreshSeconds and retrySeconds together", remedy));
        }
        problems
    }
}

impl Access {
    fn problems(&self) -> Problems {
        let mut problems = Vec::new();
        if !(1..=MOST).contains(&self.from.len()) {
            let remedy = format!("give 1 to {MOST}: loopback, pod, addresses or networks");
            problems.push(Problem::new("access.from", format!("holds {}", self.from.len()), remedy));
        }
        for (index, _) in self.from.iter().enumerate().filter(|(_, text)| Client::parse(text).is_none()) {
            let remedy = "use loopback, pod, an address, or a network as 192.0.2.0/24 without bits behind the prefix";
            problems.push(Problem::new(format!("access.from[{index}]"), "is no place", remedy));
        }
        for (index, file) in self.tsig_key_files.iter().enumerate() {
            problems.extend(check_file(format!("access.tsigKeyFiles[{index}]"), file));
        }
        if self.tsig_key_files.len() > MOST {
            let remedy = format!("give {MOST} at most");
            problems.push(Problem::new("access.tsigKeyFiles", format!("holds {}", self.tsig_key_files.len()), remedy));
        }
        if self.signed_only && self.tsig_key_files.is_empty() {
            let remedy = "name the files of keys in access.tsigKeyFiles, or nobody could ask";
            problems.push(Problem::new("access.signedOnly", "is true without a key", remedy));
        }
        problems
    }
}
