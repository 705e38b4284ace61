//! Whatever octets come from a feed: they are read, or they are refused; nothing panics, nothing runs without end, and half a
//! transfer is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hickory_proto::op::Message;
use hickory_proto::rr::Name as HickoryName;
use proptest::prelude::*;
use tapir_pop::dns::records::{
    Event, Incoming, Limits, Malformed, Outcome, Progress, Reader, TransferError, Wanted, WireName, kind,
};
use tapir_pop::zone::Serial;

const ZONE: &[u8] = b"\x04feed\x07example\0";
const ID: u16 = 4711;

fn zone() -> WireName {
    WireName::from_wire(ZONE).unwrap()
}

fn soa(serial: u32) -> Vec<u8> {
    let numbers = [serial, 1, 2, 3, 4].map(u32::to_be_bytes);
    [&b"\x02ns\0\xc0\x0c"[..], &numbers.concat()].concat()
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend([0xc0, 12]);
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 60]);
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

/// `17` is the SOA with that serial, `name` a CNAME to the root.
fn message(asked: u16, records: &[&str]) -> Vec<u8> {
    let mut message = ID.to_be_bytes().to_vec();
    message.extend([0x84, 0, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    message.extend(ZONE);
    message.extend(asked.to_be_bytes());
    message.extend([0, 1]);
    for text in records {
        message.extend(match text.parse() {
            Ok(serial) => record(&[], kind::SOA, &soa(serial)),
            Err(_) => record(&[&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat(), kind::CNAME, &[0]),
        });
    }
    message
}

fn limits() -> Limits {
    Limits { octets: 1 << 20, records: 1 << 16 }
}

/// What a transfer says as text, and how it ends.
fn run(wanted: Wanted, messages: &[Vec<u8>]) -> (String, Result<Option<Outcome>, TransferError>) {
    let mut incoming = Incoming::new(zone(), ID, wanted, limits());
    let mut said = String::new();
    for message in messages {
        let mut each = |event: Event<'_>| {
            let owner = |record: &tapir_pop::dns::records::Record<'_>| {
                record.target()?;
                Ok::<_, Malformed>(record.owner.to_string().replace(".feed.example.", ""))
            };
            said += &match event {
                Event::Whole(soa) => format!("whole {} ", soa.serial),
                Event::Step { from, new } => format!("{from}>>{new} "),
                Event::Reached(serial) => format!("={serial} "),
                Event::Removed(record) => format!("-{} ", owner(&record).map_err(TransferError::from)?),
                Event::Added(record) => format!("+{} ", owner(&record).map_err(TransferError::from)?),
            };
            Ok::<_, TransferError>(())
        };
        match incoming.take(message, &mut each) {
            Ok(Progress::More) => {}
            Ok(Progress::Done(outcome)) => return (said, Ok(Some(outcome))),
            Err(error) => return (said, Err(error)),
        }
    }
    (said, Ok(None))
}

fn check(wanted: Wanted, messages: &[&[&str]], said: &str, end: &str) {
    let asked = if wanted == Wanted::Whole { kind::AXFR } else { kind::IXFR };
    let octets: Vec<_> = messages.iter().map(|records| message(asked, records)).collect();
    let (got, outcome) = run(wanted, &octets);
    let outcome = match outcome {
        Ok(Some(Outcome::Current(soa))) => format!("current {}", soa.serial),
        Ok(Some(Outcome::Behind(soa))) => format!("behind {}", soa.serial),
        Ok(Some(Outcome::Whole(soa))) => format!("whole {}", soa.serial),
        Ok(Some(Outcome::Changed(soa))) => format!("changed {}", soa.serial),
        Ok(None) => "more".to_owned(),
        Err(error) => <&str>::from(error).to_owned(),
    };
    assert_eq!((got.trim(), outcome.as_str()), (said, end), "{messages:?}");
}

#[test]
fn whole_transfers() {
    let check = |messages: &[&[&str]], said, end| check(Wanted::Whole, messages, said, end);
    check(&[&["7", "a", "b", "7"]], "whole 7 +a +b", "whole 7");
    check(&[&["7"], &["a"], &["b", "7"]], "whole 7 +a +b", "whole 7");
    check(&[&["7", "7"]], "whole 7", "whole 7");
    check(&[&["7", "a"]], "whole 7 +a", "more");
    check(&[&["7", "a", "8"]], "whole 7 +a", "inconsistent");
    check(&[&["7", "6", "a"]], "", "inconsistent");
    check(&[&["7", "a", "7", "b"]], "whole 7 +a", "behind_end");
    check(&[&["a", "7"]], "", "no_soa");
    check(&[&[]], "", "no_soa");
}

#[test]
fn changes() {
    let check = |messages: &[&[&str]], said, end| check(Wanted::Since(Serial(5)), messages, said, end);
    check(&[&["7", "5", "a", "7", "b", "c", "7"]], "5>>7 -a =7 +b +c", "changed 7");
    check(&[&["7", "5", "a"], &["6", "b"], &["6", "b", "7"], &["7"]], "5>>7 -a =6 +b 6>>7 -b =7", "changed 7");
    check(&[&["7", "4", "a", "7", "7"]], "", "inconsistent");
    check(&[&["7", "5", "a", "6", "5", "7", "7"]], "5>>7 -a =6", "inconsistent");
    check(&[&["7", "a", "7"]], "whole 7 +a", "whole 7");
    check(&[&["5"]], "", "current 5");
    check(&[&["5", "5"]], "", "current 5");
    check(&[&["4"]], "", "behind 4");
    check(&[&["6"]], "", "more");
    check(&[&["7", "5", "a", "7", "b"]], "5>>7 -a =7 +b", "more");
}

#[test]
fn answers_to_something_else_are_not_taken() {
    let good = message(kind::AXFR, &["7", "a", "7"]);
    let with = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        run(Wanted::Whole, &[message]).1.unwrap_err()
    };
    assert_eq!(with(0, 0), TransferError::Unasked, "another id");
    assert_eq!(with(2, 0x04), TransferError::Unasked, "a request");
    assert_eq!(with(2, 0xa4), TransferError::Unasked, "another opcode");
    assert_eq!(with(2, 0x86), TransferError::Malformed(Malformed::Short), "cut");
    assert_eq!(with(3, 5), TransferError::Refused(5));
    assert_eq!(with(13, b'x'), TransferError::Unasked, "another zone");
    assert_eq!(with(5, 2), TransferError::Malformed(Malformed::Questions));
    let limited = |octets, records| {
        let mut incoming = Incoming::new(zone(), ID, Wanted::Whole, Limits { octets, records });
        incoming.take(&good, |_| Ok::<_, TransferError>(()))
    };
    let exact = u64::try_from(good.len()).unwrap();
    assert!(limited(exact, 3).is_ok());
    assert_eq!(limited(exact - 1, 3), Err(TransferError::TooLarge));
    assert_eq!(limited(exact, 2), Err(TransferError::TooLarge));
}

#[test]
fn records_of_other_zones_and_classes_are_left_out() {
    let mut message = message(kind::AXFR, &["7", "a", "7"]);
    let tail = record(&[], kind::SOA, &soa(7)).len();
    let mut other = b"\x03bad\x05other\0".to_vec();
    other.extend([0, 5, 0, 1, 0, 0, 0, 60, 0, 1, 0]);
    let mut chaos = record(b"\x05chaos", kind::CNAME, &[0]);
    chaos[6 + 2 + 3] = 3;
    let at = message.len() - tail;
    message.splice(at..at, [other, chaos].concat());
    message[7] = 5;
    let mut incoming = Incoming::new(zone(), ID, Wanted::Whole, limits());
    let progress = incoming.take(&message, |_| Ok::<_, TransferError>(())).unwrap();
    assert!(matches!(progress, Progress::Done(Outcome::Whole(_))));
    assert_eq!(incoming.left_out, 2);
}

#[test]
fn names_end() {
    let read = |octets: &[u8], at| WireName::read(octets, at).map(|(name, end)| (name.to_string(), end));
    assert_eq!(read(b"\x01a\x01B\0", 0), Ok(("a.b.".into(), 5)));
    assert_eq!(read(b"\x01a\0\x01b\xc0\0", 3), Ok(("b.a.".into(), 7)));
    assert_eq!(read(b"\xc0\0", 0), Err(Malformed::Name), "to itself");
    assert_eq!(read(b"\x01a\xc0\0", 0), Err(Malformed::Name), "a circle");
    assert_eq!(read(b"\xc0\x02\0", 0), Err(Malformed::Name), "forward");
    assert_eq!(read(b"\x01a", 0), Err(Malformed::Short));
    assert_eq!(read(b"\x40a\0", 0), Err(Malformed::Name), "a length that there is not");
    // Each pointer leads to the one before: more steps than labels fit.
    let mut ladder = vec![0];
    for step in 0..400_u16 {
        ladder.extend((0xc000 | if step == 0 { 0 } else { step * 2 - 1 }).to_be_bytes());
    }
    assert_eq!(read(&ladder, 2 * 100 + 1), Ok((".".into(), 203)));
    assert_eq!(read(&ladder, 2 * 300 + 1), Err(Malformed::Name));
    let longest = [[&[63][..], &[b'a'; 63]].concat().repeat(3), [&[61][..], &[b'b'; 61], &[0]].concat()].concat();
    assert_eq!(longest.len(), 255);
    assert!(read(&longest, 0).is_ok());
    let longer = [[&[63][..], &[b'a'; 63]].concat().repeat(3), [&[62][..], &[b'b'; 62], &[0]].concat()].concat();
    assert_eq!(read(&longer, 0), Err(Malformed::Name));
    let below = |name: &[u8]| WireName::from_wire(name).unwrap().below(&zone()).map(<[u8]>::to_vec);
    assert_eq!(below(b"\x01a\x04FEED\x07example\0"), Some(b"\x01a".to_vec()));
    assert_eq!(below(ZONE), Some(vec![]));
    // A label that ends with the octets of the zone's name.
    assert_eq!(below(b"\x06a\x04feed\x07example\0"), None);
    assert_eq!(below(b"\x07example\0"), None);
}

/// Every record of a message, as long as it can be read.
fn walk(octets: &[u8]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(octets)?;
    let mut count = 0;
    while let Some(record) = reader.next()? {
        let _ = (record.target(), record.soa(), record.owner.to_string());
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_message_of_nothing_but_pointers_is_read_fast() {
    // 5 000 records whose names all go through the ladder.
    let mut octets = message(kind::AXFR, &["7"]);
    let base = octets.len();
    octets.extend([0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0]);
    let data = octets.len() - 2;
    octets[data..].copy_from_slice(&500_u16.to_be_bytes());
    for step in 0..250 {
        let to = if step == 0 { base } else { base + 11 + (step - 1) * 2 };
        octets.extend((0xc000 | u16::try_from(to).unwrap()).to_be_bytes());
    }
    let top = u16::try_from(base + 11 + 120 * 2).unwrap();
    let mut records = 2;
    while octets.len() < 65_500 {
        octets.extend((0xc000 | top).to_be_bytes());
        octets.extend([0, 5, 0, 1, 0, 0, 0, 0, 0, 2]);
        octets.extend((0xc000 | top).to_be_bytes());
        records += 1;
    }
    octets[6..8].copy_from_slice(&u16::try_from(records).unwrap().to_be_bytes());
    let began = std::time::Instant::now();
    assert_eq!(walk(&octets), Ok(records));
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn half_a_transfer_is_none() {
    let messages = [message(kind::IXFR, &["7", "5", "a", "b"]), message(kind::IXFR, &["7", "c", "7"])];
    for (index, whole) in messages.iter().enumerate() {
        for length in 0..whole.len() {
            let mut cut = messages.to_vec();
            cut[index].truncate(length);
            let (_, outcome) = run(Wanted::Since(Serial(5)), &cut);
            assert!(outcome.is_err(), "message {index} with {length} octets: {outcome:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = walk(&octets);
        let _ = run(Wanted::Whole, &[octets]);
    }

    #[test]
    fn damaged_transfers_are_read_or_refused(
        names in prop::collection::vec("[a-z]{1,12}", 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut records: Vec<&str> = vec!["7", "5"];
        records.extend(names.iter().map(String::as_str));
        records.extend(["7", "7"]);
        let mut octets = message(kind::IXFR, &records);
        for (at, octet) in damage {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        let _ = walk(&octets);
        let _ = run(Wanted::Since(Serial(5)), &[octets]);
    }

    #[test]
    fn names_are_those_that_another_library_reads(
        octets in prop::collection::vec(prop_oneof![4 => 0_u8..4, 2 => Just(0xc0), 3 => b'a'..b'e'], 0..60),
        at in 0_usize..60,
    ) {
        use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
        prop_assume!(at < octets.len());
        let mut decoder = BinDecoder::new(&octets).clone(u16::try_from(at).unwrap());
        let theirs = HickoryName::read(&mut decoder).ok();
        let ours = WireName::read(&octets, at).ok();
        // Each refuses some pointers that no server writes and the other takes; what both take is the same.
        if let (Some((ours, _)), Some(theirs)) = (&ours, &theirs) {
            let labels: Vec<u8> = theirs.iter().flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label].concat()).collect();
            prop_assert_eq!(ours.as_bytes(), [&labels.to_ascii_lowercase()[..], &[0]].concat());
        }
    }

    #[test]
    fn whole_messages_are_those_that_another_library_reads(names in prop::collection::vec("[a-z]{1,20}", 0..30)) {
        let mut records: Vec<&str> = vec!["7"];
        records.extend(names.iter().map(String::as_str));
        let octets = message(kind::AXFR, &records);
        prop_assert_eq!(walk(&octets).unwrap(), Message::from_vec(&octets).unwrap().answers.len());
    }
}
