//! One JSON object a line on standard output, as the workers write.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// One member of a line.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// How much a person is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Info,
    Warn,
}

/// What a pipe that polls as writable takes at once (pipe(7), `PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// Writes a line, or drops it when nobody reads: a log that cannot be written must neither end the container nor keep this
/// program from restarting its worker, so failures are left at that.
pub(crate) fn event(level: Level, event: &str, fields: &[(&str, Value)]) {
    let line = format(SystemTime::now(), level, event, fields);
    let mut output = std::io::stdout();
    if line.len() <= AT_ONCE && writable(&output) {
        // One write: lines of the worker on the same pipe do not come between.
        let _ = output.write_all(line.as_bytes());
    }
}

fn writable(output: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
    let ready = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0);
    ready && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT))
}

fn format(now: SystemTime, level: Level, event: &str, fields: &[(&str, Value)]) -> String {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
    };
    let mut line = format!(r#"{{"timestamp":"{}","level":"{level}","component":"tapir-init","event":"#, timestamp(now));
    quote(event, &mut line);
    for (name, value) in fields {
        line.push(',');
        quote(name, &mut line);
        line.push(':');
        match value {
            Value::Text(text) => quote(text, &mut line),
            Value::Number(number) => {
                let _ = write!(line, "{number}");
            }
        }
    }
    line.push_str("}\n");
    line
}

/// RFC 8259 section 7.
fn quote(text: &str, line: &mut String) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            '\u{0}'..='\u{1f}' => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            _ => line.push(character),
        }
    }
    line.push('"');
}

/// RFC 3339 in UTC. A clock before 1970 shows as 1970.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", since.subsec_micros())
}

/// Year, month and day of a count of days since 1970, by counting eras of 400 years that begin on a first of March, so that the
/// leap day comes last.
const fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps() {
        let check = |seconds, expected| assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_399, "2000-02-28T23:59:59.000000Z");
        check(951_782_400, "2000-02-29T00:00:00.000000Z");
        check(951_868_800, "2000-03-01T00:00:00.000000Z");
        check(1_798_761_599, "2026-12-31T23:59:59.000000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_text() {
        let fields = [("error", Value::from("a\"b\\c\nd\u{1}\u{e5}")), ("restart_delay_ms", Value::from(100))];
        let line = format(UNIX_EPOCH, Level::Warn, "worker_ended", &fields);
        assert_eq!(
            line,
            "{\"timestamp\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"WARN\",\"component\":\"tapir-init\",\"event\":\"worker_ended\",\
             \"error\":\"a\\\"b\\\\c\\u000ad\\u0001\u{e5}\",\"restart_delay_ms\":100}\n"
        );
    }
}
