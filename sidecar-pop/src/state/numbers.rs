//! Serial numbers that are never used twice, without waiting for the disk at each.
//!
//! Numbers are reserved ahead, for some seconds at a time: the file says up to which one they may be in use. A process that was killed goes on
//! behind the last version of its log, which the kernel had. After a power loss the end of the log may be missing, so it goes on behind the
//! reservation; that the machine was started anew is seen by the kernel's boot id.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file::replace;
use crate::zone::serial::Serial;

/// Name of the file.
pub const FILE: &str = "serial.json";
/// Numbers that are reserved at a time: twenty seconds of those that the clock gives. A restart after a power loss runs ahead of the clock by
/// that at most.
pub const AHEAD: u32 = 200;
/// Where the kernel tells which start of the machine this is (proc_sys_kernel(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserved {
    format: u32,
    /// The last number that may have been in use when this was written.
    used_through: Option<Serial>,
    /// The last number that may be in use, unless the process ended in order: then it is the same.
    reserved_through: Serial,
    /// The start of the machine in which that was written.
    boot_id: String,
}

/// As it was written before there were reservations: each number before it was used.
#[derive(Debug, Deserialize)]
struct Former {
    serial: Serial,
}

/// Gives out numbers.
#[derive(Clone, Debug)]
pub struct Numbers {
    boot_id: String,
    last: Option<Serial>,
    /// Up to where numbers may be used; none before the first reservation.
    through: Option<Serial>,
}

/// A number, and whether it may be used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is reserved.
    Ready(Serial),
    /// It is to be reserved first, or marked where the disk takes no file.
    Unreserved(Serial),
}

impl Numbers {
    /// Goes on behind what may be in use: `logged` is the number of the last version that is known, of log or base file.
    #[must_use]
    pub fn after(found: Option<&Reserved>, logged: Option<Serial>, boot_id: &str) -> Self {
        let noted = found.and_then(|reserved| {
            // What this start of the machine wrote to the log is there.
            let exact = reserved.boot_id == boot_id && logged.is_some();
            if exact { reserved.used_through } else { Some(reserved.reserved_through) }
        });
        let last = match (noted, logged) {
            (Some(noted), Some(logged)) => Some(if logged.is_after(noted) { logged } else { noted }),
            (noted, logged) => noted.or(logged),
        };
        Self { boot_id: boot_id.to_owned(), last, through: None }
    }

    /// The next number. It counts as used from now on.
    pub fn take(&mut self, now: Timestamp) -> Next {
        let serial = Serial::next(self.last, now);
        self.last = Some(serial);
        if self.through.is_some_and(|through| !serial.is_after(through)) { Next::Ready(serial) } else { Next::Unreserved(serial) }
    }

    /// The reservation that is to be written, when half of the last one is over: also while nothing happens, since numbers follow the clock.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Reserved> {
        // Before a number is taken that is not reserved: then it does not count as used until it is.
        let next = Serial::next(self.last, now);
        let half = Serial(next.0.wrapping_add(AHEAD / 2));
        let enough = self.through.is_some_and(|through| through.is_after(half));
        (!enough).then(|| self.document(Serial(next.0.wrapping_add(AHEAD))))
    }

    /// The reservation of an orderly end: nothing is used after it.
    #[must_use]
    pub fn closing(&self) -> Option<Reserved> {
        self.last.map(|last| self.document(last))
    }

    /// This reservation is on disk now.
    pub fn reserved(&mut self, written: &Reserved) {
        if self.through.is_none_or(|through| written.reserved_through.is_after(through)) {
            self.through = Some(written.reserved_through);
        }
    }

    /// These may have been in use by a process before this one.
    pub fn go_behind(&mut self, found: &Reserved) {
        if self.last.is_none_or(|last| found.reserved_through.is_after(last)) {
            self.last = Some(found.reserved_through);
        }
    }

    /// The last number that was given out, or may be in use.
    #[must_use]
    pub const fn last(&self) -> Option<Serial> {
        self.last
    }

    fn document(&self, reserved_through: Serial) -> Reserved {
        Reserved { format: 2, used_through: self.last, reserved_through, boot_id: self.boot_id.clone() }
    }
}

impl Reserved {
    /// Reads the file, also as it was written before.
    ///
    /// # Errors
    /// When it is there and cannot be read; the clock alone decides then.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text)
            .or_else(|error| {
                let former: Former = serde_json::from_slice(&text).map_err(|_| error)?;
                let serial = former.serial;
                Ok(Self { format: 1, used_through: Some(serial), reserved_through: serial, boot_id: String::new() })
            })
            .map(Some)
            .map_err(|error: serde_json::Error| io::Error::other(error))
    }

    /// Whether it was written in this start of the machine.
    #[must_use]
    pub fn is_of(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
    }

    /// The same where the log does not tell all that was written in this start of the machine: it is as after a power loss.
    #[must_use]
    pub fn doubted(self) -> Self {
        Self { boot_id: String::new(), ..self }
    }

    /// Writes it, to the disk.
    ///
    /// # Errors
    /// When it could not be; the reservation does not count then.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        replace(&folder.join(FILE), &serde_json::to_vec(self).map_err(io::Error::other)?)
    }
}

/// Lets one after the other write the file: of two reservations the farther one stands there in the end, and nothing after that of an orderly
/// end.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<Passed>>);

#[derive(Debug, Default)]
struct Passed {
    through: Option<Serial>,
    closed: bool,
}

impl Gate {
    /// Writes a reservation, to the disk.
    ///
    /// # Errors
    /// When it could not be; it does not count then.
    pub fn write(&self, reserved: &Reserved, folder: &Path) -> io::Result<()> {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.closed || passed.through.is_some_and(|through| !reserved.reserved_through.is_after(through)) {
            return Ok(());
        }
        reserved.write(folder)?;
        passed.through = Some(reserved.reserved_through);
        Ok(())
    }

    /// Writes the reservation of an orderly end, to the disk.
    ///
    /// # Errors
    /// When it could not be; the one before stands.
    pub fn close(&self, closing: &Reserved, folder: &Path) -> io::Result<()> {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passed.closed = true;
        closing.write(folder)
    }
}

/// Which start of the machine this is. Where the kernel does not tell, each start of the process counts as one of the machine, which is safe.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string(BOOT_ID)
        .map_or_else(|_| format!("process-{:x}", Timestamp::now().as_nanosecond()), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_219_200_000 + milliseconds).unwrap()
    }

    #[derive(Clone, Debug)]
    enum Act {
        /// The clock goes on, or is set.
        Time(i64),
        Publish,
        /// It ends when a number is reserved for a version, and the version not written.
        KillBetween,
        /// The disk thread does what is due.
        Reserve,
        Kill,
        /// So many of the last versions were not on disk yet.
        PowerLoss(usize),
        End,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0_i64..3_000).prop_map(Act::Time),
            1 => (-100_000_i64..100_000).prop_map(Act::Time),
            8 => Just(Act::Publish),
            4 => Just(Act::Reserve),
            1 => Just(Act::Kill),
            1 => Just(Act::KillBetween),
            1 => (0_usize..20).prop_map(Act::PowerLoss),
            1 => Just(Act::End),
        ]
    }

    /// The next number, as the engine takes it: where it is not reserved, it reserves and waits.
    fn next(numbers: &mut Numbers, disk: &mut Option<Reserved>, now: Timestamp) -> Serial {
        let due = numbers.due(now);
        match numbers.take(now) {
            Next::Ready(serial) => serial,
            Next::Unreserved(serial) => {
                let due = due.unwrap();
                numbers.reserved(&due);
                *disk = Some(due);
                serial
            }
        }
    }

    proptest! {
        #[test]
        fn no_number_is_used_twice_and_each_is_after_the_one_before(acts in prop::collection::vec(act(), 1..200)) {
            let (mut now, mut boot, mut disk) = (0_i64, 0, None::<Reserved>);
            let mut numbers = Numbers::after(None, None, "0");
            // Of these, the log holds so many.
            let (mut used, mut logged) = (Vec::<Serial>::new(), 0);
            for act in acts {
                let mut restart = false;
                // Nothing but what was published counts as used.
                let mut exact = logged == used.len() && numbers.last() == used.last().copied();
                match act {
                    Act::Time(by) => now += by,
                    Act::Publish => {
                        let serial = next(&mut numbers, &mut disk, at(now));
                        if let Some(last) = used.last() {
                            prop_assert!(serial.is_after(*last), "{serial} after {last}");
                        }
                        used.push(serial);
                        logged = used.len();
                    }
                    Act::Reserve => {
                        if let Some(due) = numbers.due(at(now)) {
                            numbers.reserved(&due);
                            disk = Some(due);
                        }
                    }
                    Act::Kill => restart = true,
                    Act::KillBetween => {
                        next(&mut numbers, &mut disk, at(now));
                        restart = true;
                    }
                    Act::PowerLoss(lost) => {
                        logged = used.len().saturating_sub(lost);
                        boot += 1;
                        exact = false;
                        restart = true;
                    }
                    Act::End => {
                        disk = numbers.closing().or(disk);
                        restart = true;
                    }
                }
                if restart {
                    let head = logged.checked_sub(1).map(|last| used[last]);
                    numbers = Numbers::after(disk.as_ref(), head, &boot.to_string());
                    prop_assert!(!exact || used.is_empty() || numbers.last() == used.last().copied(), "{:?} after {:?}", numbers.last(), used.last());
                }
            }
        }
    }

    #[test]
    fn a_first_change_after_a_while_is_ready() {
        let mut numbers = Numbers::after(None, None, "a");
        assert!(matches!(numbers.take(at(0)), Next::Unreserved(_)));
        for second in 0..100 {
            if let Some(due) = numbers.due(at(second * 1000)) {
                numbers.reserved(&due);
            }
            let mut later = numbers.clone();
            assert!(matches!(later.take(at(second * 1000 + 999)), Next::Ready(_)), "{second}");
        }
    }

    #[test]
    fn after_a_power_loss_it_goes_on_behind_the_reservation_and_else_behind_the_log() {
        let mut numbers = Numbers::after(None, None, "a");
        numbers.take(at(0));
        let reserved = numbers.due(at(0)).unwrap();
        let (logged, through) = (numbers.last(), reserved.reserved_through);
        assert_eq!(Numbers::after(Some(&reserved), logged, "a").last(), logged);
        assert_eq!(Numbers::after(Some(&reserved), logged, "b").last(), Some(through));
        assert_eq!(Numbers::after(numbers.closing().as_ref(), logged, "b").last(), logged);
        assert_eq!(Numbers::after(Some(&reserved), None, "a").last(), Some(through), "the log is gone");
    }

    #[test]
    fn the_farther_reservation_stands_and_nothing_after_an_orderly_end() {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::default();
        let numbers = Numbers::after(None, Some(Serial(7)), "a");
        let [near, far] = [0, 60_000].map(|after| numbers.due(at(after)).unwrap());
        let stands = || Reserved::read(folder.path()).unwrap().unwrap();
        gate.write(&far, folder.path()).unwrap();
        gate.write(&near, folder.path()).unwrap();
        assert_eq!(stands(), far);
        let closing = numbers.closing().unwrap();
        gate.close(&closing, folder.path()).unwrap();
        gate.write(&numbers.due(at(120_000)).unwrap(), folder.path()).unwrap();
        assert_eq!(stands(), closing);
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_as_it_was_before() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Reserved::read(folder.path()).unwrap(), None);
        let mut numbers = Numbers::after(None, Some(Serial(7)), "a");
        numbers.take(at(0));
        for written in [numbers.due(at(0)).unwrap(), numbers.closing().unwrap()] {
            written.write(folder.path()).unwrap();
            assert_eq!(Reserved::read(folder.path()).unwrap(), Some(written));
        }
        fs::write(folder.path().join(FILE), r#"{"format":1,"serial":12,"content":"abc"}"#).unwrap();
        let former = Reserved::read(folder.path()).unwrap();
        assert_eq!(Numbers::after(former.as_ref(), None, "a").last(), Some(Serial(12)));
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Reserved::read(folder.path()).is_err());
        assert!(!boot_id().is_empty() && boot_id() == boot_id());
    }
}
