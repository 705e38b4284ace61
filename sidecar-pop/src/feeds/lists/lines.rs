//! Lists with one entry a line, and hosts files.

use std::io::{self, BufRead, Read as _};

use super::Numbered;
use super::entry::{BadEntry, is_address};

/// Longest line. The longest name with all of its octets escaped has 1 016.
const LONGEST: usize = 4096;

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

/// Lines of a text, however long they are.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    octets: Vec<u8>,
    limit: usize,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self::with_limit(from, LONGEST)
    }

    pub(super) const fn with_limit(from: R, limit: usize) -> Self {
        Self { from, octets: Vec::new(), limit, number: 0 }
    }

    /// The next line with its number, from 1, without its end; an error in place of one that is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Numbered<&[u8], BadEntry>>> {
        self.octets.clear();
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        if self.from.by_ref().take(limit).read_until(b'\n', &mut self.octets)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.octets.len() == self.limit && !self.octets.ends_with(b"\n") {
            self.skip()?;
            return Ok(Some((self.number, Err(BadEntry::TooLong))));
        }
        let mut line = self.octets.as_slice();
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        line = line.strip_suffix(b"\n").unwrap_or(line);
        Ok(Some((self.number, Ok(line.strip_suffix(b"\r").unwrap_or(line)))))
    }

    /// Goes on behind the end of this line.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let part = self.from.fill_buf()?;
            let end = part.iter().position(|octet| *octet == b'\n');
            let used = end.map_or(part.len(), |end| end + 1);
            if used == 0 {
                return Ok(());
            }
            self.from.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// The entries of one line.
pub(super) fn each_entry<E>(
    line: &[u8],
    is_hosts: bool,
    mut each: impl FnMut(Result<&str, BadEntry>) -> Result<(), E>,
) -> Result<(), E> {
    let Ok(line) = std::str::from_utf8(line) else { return each(Err(BadEntry::Encoding)) };
    let mut words = without_comment(line).split_whitespace();
    let Some(first) = words.next() else { return Ok(()) };
    if !is_hosts {
        return each(if words.next().is_none() { Ok(first) } else { Err(BadEntry::Words) });
    }
    if !is_address(first) {
        return each(Err(BadEntry::NoAddress));
    }
    let mut names = words.peekable();
    if names.peek().is_none() {
        return each(Err(BadEntry::NoName));
    }
    names.filter(|name| !OF_THE_MACHINE.iter().any(|own| own.eq_ignore_ascii_case(name))).try_for_each(|name| each(Ok(name)))
}

/// A comment begins at the start of a line or behind a blank, with `#`, `;` or `//`. None of them begins a host's name.
fn without_comment(line: &str) -> &str {
    if !line.bytes().any(|byte| matches!(byte, b'#' | b';' | b'/')) {
        return line;
    }
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

    type Found = Vec<(u64, Result<String, BadEntry>)>;

    fn entries(text: &[u8], is_hosts: bool) -> Found {
        let mut lines = Lines::new(text);
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            match line {
                Err(error) => found.push((number, Err(error))),
                Ok(line) => each_entry(line, is_hosts, |entry| {
                    found.push((number, entry.map(str::to_owned)));
                    Ok::<_, ()>(())
                })
                .unwrap(),
            }
        }
        found
    }

    fn check(is_hosts: bool, text: &[u8], expected: &[(u64, Result<&str, BadEntry>)]) {
        let expected: Found = expected.iter().map(|(line, entry)| (*line, entry.map(str::to_owned))).collect();
        assert_eq!(entries(text, is_hosts), expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn lines_of_names() {
        let text = "\u{feff}# head\r\n\r\nevil.example\r\n  worse.example.  # why\n;x\n// y\n\t\nlast.example;x";
        check(false, text.as_bytes(), &[(3, Ok("evil.example")), (4, Ok("worse.example.")), (8, Ok("last.example;x"))]);
        check(false, b"", &[]);
        check(false, b"a b\n\xff.example\nc\n", &[(1, Err(BadEntry::Words)), (2, Err(BadEntry::Encoding)), (3, Ok("c"))]);
    }

    #[test]
    fn a_line_without_end_is_one_refusal() {
        let mut text = vec![b'a'; 3 * LONGEST];
        text.extend(b"\nb\n");
        check(false, &text, &[(1, Err(BadEntry::TooLong)), (2, Ok("b"))]);
        text.truncate(2 * LONGEST);
        check(false, &text, &[(1, Err(BadEntry::TooLong))]);
    }

    #[test]
    fn lines_of_hosts() {
        let text = b"127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\nfe80::1%lo0 LocalHost\n0.0.0.0 0.0.0.0\n\
            0.0.0.0 evil.example\n::\tworse.example  www.worse.example # both\n0.0.0.0\nevil.example\n0.0.0.0 # none\n";
        check(
            true,
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
