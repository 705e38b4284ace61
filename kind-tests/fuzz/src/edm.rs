//! Readers of what a resolver sends to EDM.

use std::path::Path;

use tapir_edm::decode::{Counted, CountedTypes, Room, counted};
use tapir_edm::input::reader::{Next, Reader};
use tapir_edm::names::{Key, Presentation, WireName};

fn vectors(name: &str) -> serde_json::Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tapir-wire/vectors/edm").join(name);
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn octets(hexadecimal: &serde_json::Value) -> Vec<u8> {
    let digits = hexadecimal.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// As they were recorded.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    vectors("dnstap_frames.json")["vectors"].as_array().unwrap().iter().map(|entry| octets(&entry["frame_hex"])).collect()
}

/// A frame: what is borrowed from it is in order, whatever it was.
pub(crate) fn dnstap(frame: &[u8]) -> String {
    let mut room = Room::default();
    let Counted { message, query, question } = match counted(frame, CountedTypes::ALL_RESPONSES, &mut room) {
        Ok(counted) => counted,
        Err(reason) => return <&str>::from(reason).to_owned(),
    };
    let (mut key, mut text) = (Key::default(), Presentation::default());
    assert!(WireName::from_octets(question.name.octets()).is_some(), "no name: {:?}", question.name.octets());
    key.read(question.name);
    assert!(key.suffixes().all(|suffix| WireName::from_octets(suffix).is_some()));
    assert!(text.read(question.name).ends_with('.') && text.text().is_ascii());
    let mut others = 1;
    query.other_names(|_| others += 1);
    assert_eq!(others, query.questions());
    let client = message.client.ip().map(|ip| ip.is_ipv4());
    let escaped = text.text().contains('\\');
    format!(
        "{} {} {escaped} {client:?} {}",
        question.name.label_count().min(4),
        query.response_code > 15,
        query.questions().min(3)
    )
}

/// A whole session; the first octet says how it is cut.
pub(crate) fn sessions() -> Vec<Vec<u8>> {
    let recorded = octets(&vectors("framestream.json")["client_session_hex"]);
    let untyped =
        b"\0\0\0\0\0\0\0\x04\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\x02\0\0\0\x02hi\0\0\0\0\0\0\0\x04\0\0\0\x09\0\0\0\x01x".to_vec();
    [recorded, untyped].into_iter().flat_map(|session| [1, 7].map(|cut| [&[cut], session.as_slice()].concat())).collect()
}

/// Cut anyhow, it comes to the same.
pub(crate) fn frame_stream(input: &[u8]) -> String {
    let Some((cut, stream)) = input.split_first() else { return "nothing".to_owned() };
    let whole = session(stream, stream.len());
    assert_eq!(whole, session(stream, usize::from(*cut) + 1));
    let (frames, said) = whole;
    format!("{} {}", (usize::BITS - frames.len().leading_zeros()), said)
}

fn session(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, String) {
    let (mut reader, mut held, mut frames, mut said) = (Reader::default(), Vec::new(), Vec::new(), String::new());
    for piece in stream.chunks(piece.max(1)) {
        held.extend_from_slice(piece);
        loop {
            let mut places = Vec::new();
            let pass = reader.pass(&held, &mut places);
            frames.extend(places.iter().map(|place| held[place.range()].to_vec()));
            held.drain(..pass.consumed);
            match pass.next {
                Next::More => break,
                Next::Again => {}
                Next::Send(answer) => said += &format!("answer {} ", answer.len()),
                Next::Finish(_) => return (frames, said + "finish"),
                Next::Refuse(refused) => {
                    let text: String = format!("{refused:?}").chars().filter(|character| !character.is_ascii_digit()).collect();
                    return (frames, said + &text);
                }
            }
        }
    }
    (frames, format!("{said}{:?} {}", reader.phase(), held.len().min(9)))
}
