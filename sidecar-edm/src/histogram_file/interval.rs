//! What a file is about, in its name and in the header of its upload.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const PREFIX: &str = "dns_histogram-";
/// Of files that do not leave, see [`crate::sessions`].
const SESSIONS: &str = "dns_session_block-";
const SUFFIX: &str = ".parquet";
/// As in RFC 3339, without colons.
const TIME: &str = "%Y-%m-%dT%H-%M-%SZ";
const TIME_LENGTH: usize = "2023-11-29T13-50-00Z".len();
const MINUTE: i128 = 60 * 1_000_000_000;

/// Between two rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub stop: Timestamp,
}

/// Why a name is not that of a histogram file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Another kind of file, or an unfinished one.
    #[error("no histogram file")]
    Kind,
    /// No two times in it.
    #[error("the name does not say from when until when")]
    Times,
}

impl Interval {
    /// The name of the file, whole seconds in UTC. `number` tells files of the same seconds apart; upstream overwrites the first.
    #[must_use]
    pub fn file_name(&self, number: u32) -> String {
        self.name(PREFIX, number)
    }

    /// The name of a file of sessions, built the same way.
    #[must_use]
    pub fn session_file_name(&self, number: u32) -> String {
        self.name(SESSIONS, number)
    }

    /// Whether a name is that of a finished file of sessions.
    #[must_use]
    pub fn is_session_file_name(name: &str) -> bool {
        name.starts_with(SESSIONS) && name.ends_with(SUFFIX)
    }

    fn name(&self, prefix: &str, number: u32) -> String {
        let Self { start, stop } = self;
        let again = if number == 0 { String::new() } else { format!("-{number}") };
        format!("{prefix}{}_{}{again}{SUFFIX}", start.strftime(TIME), stop.strftime(TIME))
    }

    /// Whole seconds again.
    ///
    /// # Errors
    /// When it is no such name.
    pub fn of_file_name(name: &str) -> Result<Self, NameError> {
        let times = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)).ok_or(NameError::Kind)?;
        let (start, stop) = times.split_once('_').ok_or(NameError::Times)?;
        let (stop, number) = stop.split_at_checked(TIME_LENGTH).ok_or(NameError::Times)?;
        let digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !number.is_empty() && !number.strip_prefix('-').is_some_and(digits) {
            return Err(NameError::Times);
        }
        Ok(Self { start: time(start)?, stop: time(stop)? })
    }

    /// Value of the header `Aggregate-Interval`: whole seconds, as in the name of the file.
    #[must_use]
    pub fn header(&self) -> String {
        let seconds = |time: Timestamp| time.as_nanosecond().div_euclid(1_000_000_000);
        let length = i64::try_from(seconds(self.stop) - seconds(self.start)).unwrap_or_default();
        format!("{}/{}", self.start.strftime("%Y-%m-%dT%H:%M:%SZ"), duration(SignedDuration::from_secs(length)))
    }
}

fn time(text: &str) -> Result<Timestamp, NameError> {
    // The library takes fewer digits than it writes.
    if text.len() != TIME_LENGTH {
        return Err(NameError::Times);
    }
    let parsed = jiff::civil::DateTime::strptime(TIME, text).map_err(|_| NameError::Times)?;
    parsed.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| NameError::Times)
}

/// ISO 8601 with hours, minutes and seconds alone, zero parts left out.
fn duration(length: SignedDuration) -> String {
    if length <= SignedDuration::ZERO {
        return "PT0S".to_owned();
    }
    let (seconds, fraction) = (length.as_secs(), length.subsec_nanos());
    let mut text = "PT".to_owned();
    for (amount, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
        if amount > 0 {
            text.push_str(&format!("{amount}{unit}"));
        }
    }
    match (seconds % 60, fraction) {
        (0, 0) => {}
        (seconds, 0) => text.push_str(&format!("{seconds}S")),
        (seconds, fraction) => text.push_str(&format!("{seconds}.{}S", format!("{fraction:09}").trim_end_matches('0'))),
    }
    text
}

/// How long until the next full minute; a whole one at a full minute.
#[must_use]
pub fn until_next_minute(now: Timestamp) -> Duration {
    let left = MINUTE - now.as_nanosecond().rem_euclid(MINUTE);
    Duration::from_nanos(u64::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::vectors;

    fn timestamp(value: &Value) -> Timestamp {
        value.as_str().unwrap().parse().unwrap()
    }

    fn interval(case: &Value) -> Interval {
        Interval { start: timestamp(&case["start"]), stop: timestamp(&case["stop"]) }
    }

    #[test]
    fn names_are_built_and_read_as_recorded() {
        let vectors = vectors::load("filenames.json");
        let built =
            vectors["build"].as_array().unwrap().iter().filter(|case| case["final"].as_str().unwrap().contains("histogram"));
        for case in built.clone() {
            let interval = interval(case);
            assert_eq!(interval.file_name(0), case["final"]);
            if let Some(header) = case["aggregate_interval"].as_str() {
                assert_eq!(interval.header(), header);
                assert_eq!(interval.start.as_microsecond(), case["start_time_column_microseconds"].as_i64().unwrap());
            }
        }
        assert_eq!(built.count(), 2);
        for case in vectors["parse"].as_array().unwrap() {
            let read = Interval::of_file_name(case["name"].as_str().unwrap()).unwrap();
            assert_eq!((read, read.header().as_str()), (interval(case), case["aggregate_interval"].as_str().unwrap()));
        }
        for name in vectors["reject"].as_array().unwrap() {
            assert!(Interval::of_file_name(name.as_str().unwrap()).is_err(), "{name}");
        }
        for name in vectors["not_considered_by_sender_and_cleaner"].as_array().unwrap() {
            assert_eq!(Interval::of_file_name(name.as_str().unwrap()), Err(NameError::Kind), "{name}");
        }
    }

    #[test]
    fn names_of_session_files_are_built_as_recorded() {
        let vectors = vectors::load("filenames.json");
        let case = vectors["build"].as_array().unwrap().iter().find(|case| case["kind"] == "session").unwrap();
        let name = interval(case).session_file_name(0);
        assert_eq!(name, case["final"]);
        assert!(Interval::is_session_file_name(&name) && !Interval::is_session_file_name(case["temporary"].as_str().unwrap()));
        assert!(!Interval::is_session_file_name(&interval(case).file_name(0)));
    }

    #[test]
    fn numbered_names_are_read_and_others_are_not() {
        let vectors = vectors::load("filenames.json");
        let interval = interval(&vectors["parse"][0]);
        let name = interval.file_name(17);
        assert_eq!(name, "dns_histogram-2023-11-29T13-50-00Z_2023-11-29T13-51-00Z-17.parquet");
        assert_eq!(Interval::of_file_name(&name), Ok(interval));
        for bad in ["-", "-x", "17", "-1-", "Z"] {
            let name = format!("dns_histogram-2023-11-29T13-50-00Z_2023-11-29T13-51-00Z{bad}.parquet");
            assert_eq!(Interval::of_file_name(&name), Err(NameError::Times), "{name}");
        }
        assert!(Interval::of_file_name("dns_histogram-2023-11-29T13-50-0Z_2023-11-29T13-51-00Z.parquet").is_err());
        assert!(Interval::of_file_name("dns_histogram-2023-02-30T13-50-00Z_2023-11-29T13-51-00Z.parquet").is_err());
    }

    #[test]
    fn durations_are_written_as_recorded() {
        let vectors = vectors::load("iso8601_duration.json");
        let cases = vectors["vectors"].as_array().unwrap();
        for case in cases {
            let length = SignedDuration::from_nanos(case["nanoseconds"].as_i64().unwrap());
            assert_eq!(duration(length), case["text"].as_str().unwrap());
        }
        assert!(cases.len() >= 12);
    }

    #[test]
    fn minutes_end_when_recorded() {
        let vectors = vectors::load("minute_boundary.json");
        for case in vectors["vectors"].as_array().unwrap() {
            let left = until_next_minute(timestamp(&case["now"]));
            assert_eq!(left.as_nanos(), u128::from(case["nanoseconds"].as_u64().unwrap()), "{case}");
        }
    }

    /// Seconds of a duration of ISO 8601, of any of its units.
    fn seconds_of(text: &str) -> u64 {
        let (mut seconds, mut amount) = (0, 0);
        for character in text.strip_prefix("PT").unwrap().chars() {
            let unit = match character {
                'H' => 3600,
                'M' => 60,
                'S' => 1,
                digit => {
                    amount = amount * 10 + u64::from(digit.to_digit(10).unwrap());
                    continue;
                }
            };
            seconds += std::mem::take(&mut amount) * unit;
        }
        assert_eq!(amount, 0, "{text}");
        seconds
    }

    proptest! {
        #[test]
        fn a_name_says_what_the_header_says(
            // From the year 0 to the year 9999, as RFC 3339 has them.
            second in -62_167_219_200_i64..253_402_000_000,
            part in prop_oneof![Just(0), 0_i64..1_000_000],
            length in prop_oneof![0_i64..7_200_000_000, 0_i64..200_000_000_000],
            number in prop_oneof![Just(0), any::<u32>()],
        ) {
            let time = |micros| Timestamp::from_microsecond(micros).unwrap();
            let start = second * 1_000_000 + part;
            let interval = Interval { start: time(start), stop: time(start + length) };
            let whole = |time: Timestamp| Timestamp::from_second(time.as_microsecond().div_euclid(1_000_000)).unwrap();
            let name = interval.file_name(number);
            let read = Interval::of_file_name(&name).unwrap();
            prop_assert_eq!(read, Interval { start: whole(interval.start), stop: whole(interval.stop) }, "{}", name);
            // Sent from memory or from the disk, the same.
            let header = interval.header();
            prop_assert_eq!(&read.header(), &header);
            let (begin, duration) = header.split_once('/').unwrap();
            prop_assert_eq!(begin.parse::<Timestamp>().unwrap(), read.start);
            prop_assert_eq!(i64::try_from(seconds_of(duration)).unwrap(), read.stop.as_second() - read.start.as_second());
            prop_assert!(!Interval::is_session_file_name(&name));
            prop_assert!(Interval::is_session_file_name(&interval.session_file_name(number)));
            // Unfinished, or with a character less, it is none.
            prop_assert!(Interval::of_file_name(&(name.clone() + ".tmp")).is_err());
            for at in 0..name.len() {
                let mut shorter = name.clone();
                shorter.remove(at);
                let is_digit_of_number = number > 9 && shorter.starts_with(&name[..name.len() - ".parquet".len() - number.to_string().len()]);
                prop_assert!(is_digit_of_number || Interval::of_file_name(&shorter).is_err(), "{}", shorter);
            }
        }

        #[test]
        fn the_next_full_minute_is_the_next_one(now in -62_167_219_200_000_000_i64..253_402_000_000_000_000) {
            let now = Timestamp::from_microsecond(now).unwrap();
            let left = until_next_minute(now);
            prop_assert!(!left.is_zero() && left <= Duration::from_secs(60));
            prop_assert_eq!((now + left).as_microsecond().rem_euclid(60_000_000), 0);
        }
    }
}
