//! Lines of a list -> entries. Comments and blank lines are none.

use tapir_wire::config::pop::Format;

use super::entry::{BadEntry, is_address};

/// What every hosts file says of the machine itself. Those who publish lists in that form put it in front, and nobody means it.
const OF_THE_MACHINE: [&str; 12] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// Whether this build reads lists of a format.
#[must_use]
pub const fn is_served(format: Format) -> bool {
    matches!(format, Format::Domains | Format::Hosts)
}

/// The entries, each with its line from 1.
pub fn entries(octets: &[u8], format: Format) -> impl Iterator<Item = (usize, Result<&str, BadEntry>)> {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    octets.split(|octet| *octet == b'\n').zip(1..).flat_map(move |(line, number)| {
        let found = match std::str::from_utf8(line) {
            Ok(line) => of_line(without_comment(line).trim(), format),
            Err(_) => vec![Err(BadEntry::Encoding)],
        };
        found.into_iter().map(move |entry| (number, entry))
    })
}

fn of_line(line: &str, format: Format) -> Vec<Result<&str, BadEntry>> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    if format != Format::Hosts {
        return vec![if words.next().is_none() { Ok(first) } else { Err(BadEntry::Words) }];
    }
    if !is_address(first) {
        return vec![Err(BadEntry::NoAddress)];
    }
    let mut names = words.peekable();
    if names.peek().is_none() {
        return vec![Err(BadEntry::NoName)];
    }
    names.filter(|name| !OF_THE_MACHINE.iter().any(|own| own.eq_ignore_ascii_case(name))).map(Ok).collect()
}

/// A comment begins at the start of a line or behind a blank, with `#`, `;` or `//`. None of them begins a host's name.
fn without_comment(line: &str) -> &str {
    let begins = |(at, character): &(usize, char)| {
        let before = line.get(..*at).unwrap_or_default();
        let rest = line.get(*at..).unwrap_or_default();
        (matches!(character, '#' | ';') || rest.starts_with("//")) && before.chars().next_back().is_none_or(char::is_whitespace)
    };
    line.char_indices().find(begins).and_then(|(at, _)| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, text: &[u8], expected: &[(usize, Result<&str, BadEntry>)]) {
        assert_eq!(entries(text, format).collect::<Vec<_>>(), expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn lines_of_names() {
        let text = "\u{feff}# head\r\n\r\nevil.example\r\n  worse.example.  # why\n;x\n// y\n\t\nlast.example;x";
        check(Format::Domains, text.as_bytes(), &[(3, Ok("evil.example")), (4, Ok("worse.example.")), (8, Ok("last.example;x"))]);
        check(Format::Domains, b"", &[]);
        check(
            Format::Domains,
            b"a b\n\xff.example\nc\n",
            &[(1, Err(BadEntry::Words)), (2, Err(BadEntry::Encoding)), (3, Ok("c"))],
        );
    }

    #[test]
    fn lines_of_hosts() {
        let text = b"127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\nfe80::1%lo0 LocalHost\n0.0.0.0 0.0.0.0\n\
            0.0.0.0 evil.example\n::\tworse.example  www.worse.example # both\n0.0.0.0\nevil.example\n0.0.0.0 # none\n";
        check(
            Format::Hosts,
            text,
            &[
                (5, Ok("evil.example")),
                (6, Ok("worse.example")),
                (6, Ok("www.worse.example")),
                (7, Err(BadEntry::NoName)),
                (8, Err(BadEntry::NoAddress)),
                (9, Err(BadEntry::NoName)),
            ],
        );
    }
}
