//! Control frames of Frame Streams: a type, then fields; the only field is the content type. See `spec/edm.md` 3.2.

use super::reader::Refused;

/// Content type of dnstap.
const DNSTAP: &[u8] = b"protobuf:dnstap.Dnstap";
/// Longest payload, as in the reference implementation.
pub(super) const LONGEST: usize = 512;
/// The type alone.
pub(super) const SHORTEST: usize = 4;
const FIELD_CONTENT_TYPE: u32 = 1;
/// Field type and field length.
const FIELD_HEADER: usize = 8;

pub(super) const START: u32 = 2;
pub(super) const STOP: u32 = 3;
pub(super) const READY: u32 = 4;

/// Whole frames that are sent, escape and length included.
pub(super) const ACCEPT_DNSTAP: &[u8] = b"\0\0\0\0\0\0\0\x22\0\0\0\x01\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
pub(super) const ACCEPT_ANY: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x01";
pub(super) const FINISH: &[u8] = b"\0\0\0\0\0\0\0\x04\0\0\0\x05";

/// What a control frame says of content types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentTypes {
    /// None is named.
    None,
    /// Dnstap is among them.
    Dnstap,
    /// Others only.
    Others,
}

/// A control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) number: u32,
    pub(super) content_types: ContentTypes,
}

impl Control {
    /// Reads the payload of a control frame.
    ///
    /// A field header that ends the payload is an error even with length zero: the reference implementation wants at least one octet
    /// after it.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Refused> {
        let (number, mut rest) = number(payload)?;
        let mut content_types = ContentTypes::None;
        while rest.len() > FIELD_HEADER {
            let (field, after) = self::number(rest)?;
            let (length, after) = self::number(after)?;
            if field != FIELD_CONTENT_TYPE {
                return Err(Refused::UnknownField(field));
            }
            let (value, after) = after.split_at_checked(length as usize).ok_or(Refused::ControlCut)?;
            rest = after;
            let is_dnstap = value == DNSTAP || content_types == ContentTypes::Dnstap;
            content_types = if is_dnstap { ContentTypes::Dnstap } else { ContentTypes::Others };
        }
        if rest.is_empty() { Ok(Self { number, content_types }) } else { Err(Refused::ControlCut) }
    }
}

fn number(octets: &[u8]) -> Result<(u32, &[u8]), Refused> {
    let (number, rest) = octets.split_first_chunk::<4>().ok_or(Refused::ControlCut)?;
    Ok((u32::from_be_bytes(*number), rest))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A whole control frame.
    pub(in crate::input) fn frame(number: u32, content_types: &[&[u8]]) -> Vec<u8> {
        let mut payload = number.to_be_bytes().to_vec();
        for content_type in content_types {
            payload.extend_from_slice(&FIELD_CONTENT_TYPE.to_be_bytes());
            payload.extend_from_slice(&u32::try_from(content_type.len()).unwrap().to_be_bytes());
            payload.extend_from_slice(content_type);
        }
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0; 4], length.as_slice(), &payload].concat()
    }

    #[test]
    fn what_is_sent_is_what_was_recorded() {
        let vector = crate::vectors::load("framestream.json");
        let octets = |name: &str| crate::vectors::octets(&vector[name]);
        assert_eq!(vector["content_type"].as_str().unwrap().as_bytes(), DNSTAP);
        assert_eq!(ACCEPT_DNSTAP, octets("server_accept_hex"));
        assert_eq!(FINISH, octets("server_finish_hex"));
        assert_eq!(ACCEPT_ANY, frame(1, &[]));
        assert_eq!(frame(READY, &[DNSTAP]), octets("client_ready_hex"));
        assert_eq!(frame(START, &[DNSTAP]), octets("client_start_hex"));
        assert_eq!(frame(STOP, &[]), octets("client_stop_hex"));
    }

    #[test]
    fn several_content_types_in_any_order() {
        let parse = |types: &[&[u8]]| Control::parse(&frame(READY, types)[8..]).map(|control| control.content_types);
        assert_eq!(parse(&[]), Ok(ContentTypes::None));
        assert_eq!(parse(&[b"other", DNSTAP]), Ok(ContentTypes::Dnstap));
        assert_eq!(parse(&[DNSTAP, b"other"]), Ok(ContentTypes::Dnstap));
        assert_eq!(parse(&[b"other", b"another"]), Ok(ContentTypes::Others));
        assert_eq!(parse(&[b"", DNSTAP]), Ok(ContentTypes::Dnstap), "an empty one that something follows");
        assert_eq!(parse(&[DNSTAP, b""]), Err(Refused::ControlCut), "an empty one at the end");
    }

    #[test]
    fn unknown_fields_and_left_over_octets_are_refused() {
        assert_eq!(Control::parse(&[0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 1, b'x']), Err(Refused::UnknownField(2)));
        assert_eq!(Control::parse(&[0, 0, 0, 4, 0]), Err(Refused::ControlCut));
        assert_eq!(Control::parse(&[0, 0, 0]), Err(Refused::ControlCut));
        assert_eq!(Control::parse(&[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 9, b'x']), Err(Refused::ControlCut));
    }

    /// Any content type: dnstap's, almost dnstap's, others.
    fn content_type() -> impl Strategy<Value = Vec<u8>> {
        let almost = (0..DNSTAP.len(), any::<u8>()).prop_map(|(place, octet)| {
            let mut changed = DNSTAP.to_vec();
            changed[place] = octet;
            changed
        });
        prop_oneof![Just(DNSTAP.to_vec()), Just(DNSTAP[1..].to_vec()), almost, prop::collection::vec(any::<u8>(), 0..40),]
    }

    proptest! {
        #[test]
        fn any_types_are_read_as_they_were_written(
            number in any::<u32>(),
            types in prop::collection::vec(content_type(), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let slices: Vec<&[u8]> = types.iter().map(Vec::as_slice).collect();
            let whole = frame(number, &slices);
            let payload = &whole[8..];
            prop_assert_eq!(u32::from_be_bytes(whole[4..8].try_into().unwrap()) as usize, payload.len());
            let content_types = match slices.as_slice() {
                [] => ContentTypes::None,
                some if some.contains(&DNSTAP) => ContentTypes::Dnstap,
                _ => ContentTypes::Others,
            };
            // As the reference implementation has it, an empty one may not be the last.
            let empty_last = slices.last().is_some_and(|last| last.is_empty());
            let expected = if empty_last { Err(Refused::ControlCut) } else { Ok(Control { number, content_types }) };
            prop_assert_eq!(Control::parse(payload), expected);
            // Cut anywhere but between two fields it is none.
            let mut borders = vec![SHORTEST];
            types.iter().for_each(|each| borders.push(borders[borders.len() - 1] + FIELD_HEADER + each.len()));
            let cut = cut.index(payload.len());
            let expected_cut = borders.contains(&cut) && (cut == SHORTEST || !types[borders.iter().position(|border| *border == cut).unwrap() - 1].is_empty());
            prop_assert_eq!(Control::parse(&payload[..cut]).is_ok(), expected_cut, "{}", cut);
        }

        #[test]
        fn any_octets_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let read = Control::parse(&payload);
            prop_assert!(read.is_err() || payload.len() >= SHORTEST);
        }
    }
}
