//! Signed messages: what `dig` signs is taken and what is signed here `dig` takes; whatever was changed is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use process::dig;
use proptest::prelude::*;
use tapir_pop::dns::records::{HEADER, Header, kind};
use tapir_pop::dns::render::{Envelope, Renderer, Sign, Window, record};
use tapir_pop::dns::tsig::{self, Algorithm, Clock, Found, Key, Keys, Refusal, Untrusted, Verifier, code};
use tapir_table::{Codes, KeyBuf, Listed, Palette};
use tapir_wire::tsig::TsigKey;

const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==";
const NOW: u64 = 1_800_000_000;
const CLOCK: Clock = || NOW;

fn key(name: &str, algorithm: Algorithm) -> Key {
    Key::from(&TsigKey::parse(&with_key(algorithm, name, SECRET)).unwrap())
}

fn keys() -> Keys {
    let names = ["one", "two", "three"];
    Keys::first_of(names.iter().zip(Algorithm::ALL).map(|(name, algorithm)| key(name, algorithm)))
}

fn question(kind: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x08dnstapir\0");
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn soa() -> Vec<u8> {
    record([0xc0, 12], kind::SOA, 60, &[b"\0\0".as_slice(), &7_u32.to_be_bytes(), &[0; 16]].concat())
}

/// The answer to a request that has this question, before it is signed.
fn answer(request: &[u8], code: u8) -> Vec<u8> {
    let mut answer = question(kind::SOA);
    answer[..2].copy_from_slice(&request[..2]);
    answer[2..4].copy_from_slice(&[0x84, code]);
    if code == 0 {
        answer[7] = 1;
        answer.extend(soa());
    }
    answer
}

/// Answers as a server should: a SOA for one key, three messages of a transfer over TCP.
fn respond(request: &[u8], keys: &Keys, now: u64) -> Vec<Vec<u8>> {
    match keys.check(request, now) {
        Err(refusal) => {
            let mut answer = answer(request, refusal.response_code());
            refusal.append(&mut answer);
            vec![answer]
        }
        Ok(None) => vec![answer(request, 5)],
        Ok(Some(verified)) if request[HEADER + 11] == 252 => {
            let names = (10_000..14_000).map(|number| KeyBuf::from_text(&format!("name-{number}.example"), 245).unwrap());
            let mut cursor = Listed::new(names.map(|key| (key, Codes::LISTED)).collect()).unwrap();
            let envelope = Envelope {
                id: u16::from_be_bytes([request[0], request[1]]),
                question: question(252)[HEADER..].to_vec(),
                apex: vec![soa()],
                ttl: 60,
                palette: Arc::new(Palette::default()),
            };
            let mut renderer = Renderer::new(envelope, verified.signer(tsig::now));
            let (mut window, mut messages) = (Window::new(), Vec::new());
            while renderer.fill(&mut cursor, &mut window).unwrap() {
                let mut rest = window.as_bytes();
                while let Some((length, tail)) = rest.split_first_chunk::<2>() {
                    let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
                    messages.push(message.to_vec());
                    rest = tail;
                }
            }
            assert!(messages.len() > 2);
            messages
        }
        Ok(Some(verified)) => {
            let mut answer = answer(request, 0);
            verified.signer(if now == tsig::now() { tsig::now } else { CLOCK }).append(&mut answer);
            vec![answer]
        }
    }
}

/// A server on a port of both transports, `ahead` seconds in the future.
fn serve(ahead: u64) -> u16 {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            udp.send_to(&respond(&buffer[..length], &keys(), tsig::now() + ahead)[0], peer).unwrap();
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut request).unwrap();
            for message in respond(&request, &keys(), tsig::now() + ahead) {
                stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&message).unwrap();
            }
        }
    });
    port
}

fn with_key(algorithm: Algorithm, name: &str, secret: &str) -> String {
    format!("{}:{name}:{secret}", algorithm.as_str())
}

#[test]
fn dig_and_this_take_each_others_signatures() {
    let port = serve(0);
    for (name, algorithm) in ["one", "two", "three"].into_iter().zip(Algorithm::ALL) {
        let key = with_key(algorithm, name, SECRET);
        let soa = dig(port, &["-y", &key, "dnstapir.", "SOA"]);
        assert!(soa.contains("status: NOERROR") && soa.contains("ANSWER: 1") && soa.contains("TSIG"), "{soa}");
        let axfr = dig(port, &["-y", &key, "dnstapir.", "AXFR"]);
        assert!(axfr.contains("XFR size: 4002 records"), "{algorithm:?}: {}", &axfr[axfr.len() - 600..]);
        for answer in [soa, axfr] {
            assert!(!answer.contains("verify") && !answer.contains("WARNING") && !answer.contains("failed"), "{answer}");
        }
    }
    let unsigned = dig(port, &["dnstapir.", "SOA"]);
    assert!(unsigned.contains("status: REFUSED"), "{unsigned}");
}

#[test]
fn dig_hears_why_it_is_refused() {
    let port = serve(0);
    let other = "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI=";
    let ask = |port, key: &str| dig(port, &["-y", key, "dnstapir.", "SOA"]);
    let cases = [
        (ask(port, &with_key(Algorithm::Sha256, "none", SECRET)), "BADKEY"),
        (ask(port, &with_key(Algorithm::Sha512, "two", SECRET)), "BADKEY"),
        (ask(port, &with_key(Algorithm::Sha384, "two", other)), "BADSIG"),
        (ask(serve(400), &with_key(Algorithm::Sha384, "two", SECRET)), "BADTIME"),
    ];
    for (answer, why) in &cases {
        assert!(answer.contains("status: NOTAUTH") && answer.contains(why), "{why}: {answer}");
    }
    // What comes with BADTIME is signed: dig speaks of the clocks when that is right, and of the signature when it is not.
    assert!(cases[3].0.contains("clocks are unsynchronized"), "{}", cases[3].0);
    let near = ask(serve(290), &with_key(Algorithm::Sha384, "two", SECRET));
    assert!(near.contains("status: NOERROR"), "{near}");
}

fn signed(name: &str) -> (Vec<u8>, Verifier) {
    let mut message = question(kind::SOA);
    let algorithm = Algorithm::ALL[["one", "two", "three"].iter().position(|known| *known == name).unwrap()];
    let verifier = tsig::request(&mut message, &Arc::new(key(name, algorithm)), CLOCK);
    (message, verifier)
}

#[test]
fn each_cut_and_each_flipped_bit_is_noticed() {
    for name in ["one", "two", "three"] {
        let (message, _) = signed(name);
        let verified = keys().check(&message, NOW).unwrap().unwrap();
        assert_eq!((verified.at, &verified.key.name), (question(6).len(), &key(name, Algorithm::Sha256).name));
        for length in 0..message.len() {
            assert!(!matches!(keys().check(&message[..length], NOW), Ok(Some(_))), "{length} octets");
        }
        let found = Found::in_message(&message).unwrap().unwrap();
        let key_at = found.at..found.at + name.len() + 2;
        let algorithm_at = key_at.end + 10..key_at.end + 10 + found.algorithm.as_bytes().len();
        for bit in 0..message.len() * 8 {
            let (at, mask) = (bit / 8, 1 << (bit % 8));
            let mut flipped = message.clone();
            flipped[at] ^= mask;
            // Whoever forwards it may change the id (RFC 8945 section 5.4), and case means nothing in the two names.
            let letter =
                mask == 0x20 && (key_at.contains(&at) || algorithm_at.contains(&at)) && message[at].is_ascii_alphabetic();
            let taken = matches!(keys().check(&flipped, NOW), Ok(Some(_)));
            assert_eq!(taken, at < 2 || letter, "bit {bit}, octet {at} of {message:?}");
        }
    }
}

#[test]
fn times_are_looked_at_when_the_rest_is_right() {
    let (message, _) = signed("two");
    let check = |now| keys().check(&message, now);
    assert!(check(NOW + 300).is_ok() && check(NOW - 300).is_ok());
    for now in [NOW + 301, NOW - 301, 0, u64::MAX] {
        let refusal = check(now).unwrap_err();
        assert!(matches!(&refusal, Refusal::Signed { code: code::BAD_TIME, .. }), "{refusal:?}");
    }
    let mut changed = message;
    changed[HEADER + 1] ^= 1;
    let refusal = keys().check(&changed, 0).unwrap_err();
    assert!(matches!(&refusal, Refusal::Unsigned { code: code::BAD_SIGNATURE, .. }), "{refusal:?}");
}

/// A signature with the first octets of the MAC alone.
fn with_short_mac(message: &[u8], keep: usize) -> Vec<u8> {
    let found = Found::in_message(message).unwrap().unwrap();
    let mut short = message.to_vec();
    let behind = message.len() - 6;
    short.drain(behind - (found.mac.len() - keep)..behind);
    let cut = u16::try_from(found.mac.len() - keep).unwrap();
    let length_at = found.at + found.key.as_bytes().len() + 8;
    let mac_length_at = length_at + 2 + found.algorithm.as_bytes().len() + 8;
    for at in [length_at, mac_length_at] {
        let value = u16::from_be_bytes([short[at], short[at + 1]]) - cut;
        short[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    short
}

#[test]
fn short_macs_are_refused() {
    let (message, _) = signed("two");
    assert!(keys().check(&with_short_mac(&message, 48), NOW).is_ok());
    let refusal = keys().check(&with_short_mac(&message, 47), NOW).unwrap_err();
    assert!(matches!(&refusal, Refusal::Signed { code: code::BAD_TRUNCATION, .. }), "{refusal:?}");
    for keep in [0, 1, 23] {
        let refusal = keys().check(&with_short_mac(&message, keep), NOW).unwrap_err();
        assert!(matches!(&refusal, Refusal::Malformed(_)), "{keep}: {refusal:?}");
    }
}

#[test]
fn signatures_stand_at_the_end_and_once() {
    let (message, _) = signed("two");
    let at = question(6).len();
    let mut twice = message.clone();
    twice.extend_from_slice(&message[at..]);
    twice[11] = 2;
    assert!(matches!(keys().check(&twice, NOW), Err(Refusal::Malformed(_))));
    let mut not_last = message.clone();
    not_last.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    not_last[11] = 2;
    assert!(matches!(keys().check(&not_last, NOW), Err(Refusal::Malformed(_))));
    let mut elsewhere = message;
    (elsewhere[7], elsewhere[11]) = (1, 0);
    assert!(matches!(keys().check(&elsewhere, NOW), Err(Refusal::Malformed(_))));
    assert!(matches!(keys().check(&question(6), NOW), Ok(None)));
}

#[test]
fn keys_differ_by_name_and_stay_secret() {
    let shown = format!("{:?}", key("Xfr-Key.", Algorithm::Sha256));
    assert_eq!(shown, "Key { name: WireName(xfr-key.), algorithm: Sha256, .. }");
    let keys = Keys::first_of([key("A", Algorithm::Sha256), key("a.", Algorithm::Sha512)]);
    assert_eq!(keys.get(&key("a", Algorithm::Sha384).name).unwrap().algorithm, Algorithm::Sha256);
}

/// A signed transfer of `count` messages; `unsigned` are sent without.
fn transfer(count: usize, unsigned: impl Fn(usize) -> bool) -> (Verifier, Vec<Vec<u8>>) {
    let (request, verifier) = signed("two");
    let mut signer = keys().check(&request, NOW).unwrap().unwrap().signer(CLOCK);
    assert!(!unsigned(0) || count == 1);
    let messages = (0..count).map(|_| {
        let mut message = answer(&request, 0);
        signer.append(&mut message);
        message
    });
    (verifier, messages.collect())
}

fn verify(mut verifier: Verifier, messages: &[Vec<u8>], now: u64) -> Result<(), Untrusted> {
    for message in messages {
        let mut opened = message.clone();
        verifier.open(&mut opened, now)?;
        assert_eq!(opened, answer(message, 0), "as it was before it was signed");
    }
    verifier.finish()
}

#[test]
fn a_transfer_is_whole_in_order_and_from_who_has_the_key() {
    let good = || transfer(5, |_| false);
    let (verifier, messages) = good();
    assert_eq!(verify(verifier, &messages, NOW), Ok(()));
    let (verifier, _) = good();
    assert_eq!(verify(verifier, &messages, NOW + 301), Err(Untrusted::Time));
    for (one, other) in [(0, 1), (1, 2), (3, 4)] {
        let mut swapped = messages.clone();
        swapped.swap(one, other);
        assert_eq!(verify(good().0, &swapped, NOW), Err(Untrusted::Wrong));
    }
    for lost in 0..4 {
        let mut fewer = messages.clone();
        fewer.remove(lost);
        assert_eq!(verify(good().0, &fewer, NOW), Err(Untrusted::Wrong), "without message {lost}");
    }
    // The end of the transfer is in its records: that the last one is missing is not for the signature to say.
    assert_eq!(verify(good().0, &[], NOW), Err(Untrusted::Missing));
    let mut unsigned = messages.clone();
    unsigned[4] = answer(&messages[4], 0);
    assert_eq!(verify(good().0, &unsigned, NOW), Err(Untrusted::Missing));
    unsigned[0] = answer(&messages[0], 0);
    assert_eq!(verify(good().0, &unsigned, NOW), Err(Untrusted::Missing));
    let (other, _) = signed("three");
    let mut foreign = answer(&other, 0);
    keys().check(&other, NOW).unwrap().unwrap().signer(CLOCK).append(&mut foreign);
    assert_eq!(verify(good().0, &[foreign], NOW), Err(Untrusted::OtherKey));
}

#[test]
fn refusals_are_understood() {
    let (request, mut verifier) = signed("two");
    let refused = |now, keys: &Keys| {
        let refusal = keys.check(&request, now).unwrap_err();
        let mut message = answer(&request, refusal.response_code());
        refusal.append(&mut message);
        assert_eq!(Header::of(&message).unwrap().counts[3], 1);
        message
    };
    assert_eq!(verifier.check(&refused(NOW, &Keys::default()), NOW), Err(Untrusted::Remote(code::BAD_KEY)));
    let late = refused(NOW + 1000, &keys());
    let found = Found::in_message(&late).unwrap().unwrap();
    assert_eq!((found.time, found.other), (NOW, &(NOW + 1000).to_be_bytes()[2..]), "their time and ours");
    assert_eq!(signed("two").1.check(&late, NOW), Err(Untrusted::Remote(code::BAD_TIME)));
    let mut forged = late;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(signed("two").1.check(&forged, NOW), Err(Untrusted::Wrong));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_that_was_damaged_is_taken(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..5),
        message in 0_usize..3,
    ) {
        let (verifier, mut messages) = transfer(3, |_| false);
        let whole = messages[message].clone();
        for (at, mask) in damage {
            // The id is compared by who asked.
            let at = 2 + at.index(whole.len() - 2);
            messages[message][at] ^= mask;
        }
        let mut verifier = verifier;
        let same = messages[message].eq_ignore_ascii_case(&whole);
        let all = messages.iter().try_for_each(|message| verifier.check(message, NOW).map(|_| ()));
        // The last one may have become an unsigned one.
        prop_assert!(same || all.and_then(|()| verifier.finish()).is_err());
    }

    #[test]
    fn no_octets_bring_it_down(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!matches!(keys().check(&octets, NOW), Ok(Some(_))));
    }
}

#[test]
fn room_is_enough() {
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let keys = Keys::first_of([key(&long, Algorithm::Sha512)]);
    let mut request = question(252);
    let _verifier = tsig::request(&mut request, keys.get(&key(&long, Algorithm::Sha512).name).unwrap(), CLOCK);
    let mut signer = keys.check(&request, NOW).unwrap().unwrap().signer(CLOCK);
    let mut octets = vec![0; 500];
    let length = answer(&request, 0).len();
    octets[..length].copy_from_slice(&answer(&request, 0));
    let signed = signer.sign(&mut octets, length);
    assert!(signed > length + 255 && signed <= length + signer.room());
}
