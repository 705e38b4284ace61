mod crash;
mod damage;
mod disk;

use std::path::Path;

use super::record::tests::record;
use super::*;
use crate::events::seen::Fingerprint;
use crate::names::Presentation;

const NOW: u64 = 1_800_000_000;
const BOUND: u64 = 4 << 20;

/// The record of the event with this number.
fn numbered(number: u32) -> Vec<u8> {
    let label = number.to_string();
    let name = [&[label.len() as u8], label.as_bytes(), b"\x07example\0"].concat();
    record(&name, print(number))
}

fn print(number: u32) -> Fingerprint {
    let mut octets = [0; 12];
    octets[..4].copy_from_slice(&(number + 1).to_le_bytes());
    Fingerprint::from_octets(octets)
}

fn number(event: &Event) -> u32 {
    let text = event.new_qname(&mut Presentation::default()).qname;
    let number = text.strip_suffix(".example.").unwrap().parse().unwrap();
    assert_eq!(event.print, print(number));
    number
}

/// Of a segment of the bound above, the names at most.
const OF_ONE: usize = (BOUND / 16 / 30) as usize;

/// Appends, and tells how much of it was taken and what was lost for it.
fn append(writer: &mut Writer, records: &[u8], now: u64) -> (usize, std::io::Result<()>, Lost) {
    let mut all = Lost::default();
    let (taken, result) = writer.append(records, now, &mut |lost| add(&mut all, lost));
    (taken, result, all)
}

fn add(all: &mut Lost, lost: Lost) {
    assert!(lost.prints.len() <= OF_ONE, "all at once");
    all.events += lost.events;
    all.prints.extend(lost.prints);
}

fn put_at(writer: &mut Writer, numbers: std::ops::Range<u32>, now: u64) -> Lost {
    let records: Vec<u8> = numbers.flat_map(numbered).collect();
    let (taken, result, lost) = append(writer, &records, now);
    result.unwrap();
    assert_eq!(taken, records.len());
    lost
}

fn put(writer: &mut Writer, numbers: std::ops::Range<u32>) -> Lost {
    put_at(writer, numbers, NOW)
}

/// Everything that can be read, in order.
fn read_all(queue: &Queue) -> Vec<(Ticket, u32)> {
    let blocks = std::iter::from_fn(|| Some(queue.read()).filter(|events| !events.is_empty()));
    blocks.flatten().map(|(ticket, event)| (ticket, number(&event))).collect()
}

fn numbers_of(read: &[(Ticket, u32)]) -> Vec<u32> {
    read.iter().map(|(_, number)| *number).collect()
}

fn waiting_after_a_start(folder: &Path) -> Vec<u32> {
    let (_, queue) = Writer::open(folder, BOUND);
    let read = numbers_of(&read_all(&queue));
    assert_eq!(queue.len(), read.len() as u64);
    read
}

#[test]
fn events_come_out_in_order_and_what_is_done_with_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..3000);
    let read = read_all(&queue);
    assert_eq!(numbers_of(&read), (0..3000).collect::<Vec<_>>());
    assert!(queue.read().is_empty() && queue.len() == 3000);
    // Not in order: what is between is sent again.
    for (ticket, number) in &read {
        if *number < 1000 || *number == 1500 {
            queue.finish(*ticket);
            queue.finish(*ticket);
        }
    }
    queue.return_all();
    let left: Vec<u32> = (1000..3000).filter(|number| *number != 1500).collect();
    assert_eq!((numbers_of(&read_all(&queue)), queue.len()), (left, 1999));
    writer.keep(NOW).unwrap();
    writer.sync().unwrap();
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (1000..3000).collect::<Vec<_>>());
}

#[test]
fn files_go_when_they_are_done_with() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    let segments = || segment::numbers(folder.path()).unwrap();
    put(&mut writer, 0..40_000);
    assert!(segments().len() > 5);
    for (ticket, _) in read_all(&queue) {
        queue.finish(ticket);
    }
    writer.keep(NOW).unwrap();
    assert_eq!((segments().len(), queue.len()), (1, 0));
    drop(writer);
    assert!(waiting_after_a_start(folder.path()).is_empty());
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 7..9);
    assert_eq!(numbers_of(&read_all(&queue)), [7, 8]);
}

#[test]
fn the_oldest_go_where_there_is_too_much_and_their_names_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    let mut lost = Lost::default();
    let mut first = Vec::new();
    for batch in 0..150 {
        let now = put(&mut writer, batch * 1000..(batch + 1) * 1000);
        lost.events += now.events;
        lost.prints.extend(now.prints);
        if batch == 10 {
            first = queue.read();
            queue.finish(first[3].0);
        }
        assert!(queue.octets() <= BOUND);
    }
    assert!(lost.events > 10_000);
    // One was done with before.
    let expected: Vec<_> = (0..lost.events as u32 + 1).filter(|number| *number != 3).map(print).collect();
    assert!(lost.prints == expected, "{} {}", lost.events, lost.prints.len());
    assert_eq!(queue.len(), 150_000 - 1 - lost.events);
    // Those that were on their way are none any more.
    first.iter().for_each(|(ticket, _)| queue.finish(*ticket));
    assert_eq!(queue.len(), 150_000 - 1 - lost.events);
    queue.return_all();
    assert_eq!(numbers_of(&read_all(&queue)), (lost.events as u32 + 1..150_000).collect::<Vec<_>>());
}

#[test]
fn what_waits_can_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..60_000);
    let mut read = queue.read();
    queue.close();
    queue.return_all();
    assert!(queue.read().is_empty(), "not one more");
    // Names are told a segment at a time.
    let mut all = Lost::default();
    writer.clear(&mut |lost| add(&mut all, lost)).unwrap();
    assert_eq!((all.events, all.prints.len(), queue.len()), (60_000, 60_000, 0));
    assert!(segment::numbers(folder.path()).unwrap().is_empty());
    queue.finish(read[0].0);
    queue.return_all();
    assert!(queue.read().is_empty());
    queue.retain_held(&mut read);
    assert!(read.is_empty(), "nor those that were read before");
    put(&mut writer, 5000..5010);
    assert_eq!(numbers_of(&read_all(&queue)), (5000..5010).collect::<Vec<_>>());
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (5000..5010).collect::<Vec<_>>());
}

#[test]
fn few_files_are_open_however_many_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        files.filter(|file| file.starts_with(folder.path())).count()
    };
    put(&mut writer, 0..50_000);
    assert!(segment::numbers(folder.path()).unwrap().len() > 8);
    // The cursor, and what is appended to.
    assert_eq!(open(), 2);
    read_all(&queue);
    assert_eq!(open(), 2);
    drop(writer);
    let (_writer, _queue) = Writer::open(folder.path(), BOUND);
    assert_eq!(open(), 2);
}

#[test]
fn files_that_are_none_of_its_own_are_left_alone() {
    for number in ["1", "+5", "00000000017", &u64::MAX.to_string()] {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join(format!("waiting-{number}.seg"));
        std::fs::write(&foreign, "foreign").unwrap();
        let (mut writer, _) = Writer::open(folder.path(), BOUND);
        put(&mut writer, 0..10);
        drop(writer);
        assert_eq!(waiting_after_a_start(folder.path()), (0..10).collect::<Vec<_>>(), "{number}");
        assert_eq!(std::fs::read(foreign).unwrap(), b"foreign");
    }
}

#[test]
fn a_cursor_of_no_segment_that_can_be_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = cursor::Place { number: u64::MAX, offset: 36, skip: 0 };
    cursor::Cursor::open(folder.path()).unwrap().0.write(place).unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (0..10).collect::<Vec<_>>());
}
