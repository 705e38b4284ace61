//! What is stored of a message: all of it, without what tells of the client.

use std::ops::Range;

use crate::decode::name;

const HEADER: usize = 12;
const OPT: u16 = 41;
/// EDNS client subnet (RFC 7871), and the number that it had before.
const SUBNET: [u16; 2] = [8, 0x50fa];
/// EDNS cookie (RFC 7873).
const COOKIE: u16 = 10;

/// What stays of the EDNS options that say who asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Client subnets.
    pub subnets: bool,
    /// Cookies.
    pub cookies: bool,
}

impl Kept {
    fn removes(self, code: u16) -> bool {
        !self.subnets && SUBNET.contains(&code) || !self.cookies && code == COOKIE
    }
}

/// A record, as far as it matters here.
struct Record {
    start: usize,
    data: Range<usize>,
    is_opt: bool,
}

/// The message without the options that tell of the client. None when they cannot be taken out without changing what else it says: when
/// something follows the OPT record (a signature, which would not hold any more either), or names reach into it, or behind the last record.
#[must_use]
pub fn without_client<'a>(message: &'a [u8], kept: Kept, room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if kept.subnets && kept.cookies {
        return Some(message);
    }
    let mut found = None;
    let mut followed = false;
    let end = records(message, |record| {
        followed |= found.is_some();
        if record.is_opt && found.is_none() && has_one(message.get(record.data.clone())?, kept)? {
            found = Some(record);
        }
        Some(())
    })?;
    let Some(opt) = found else { return whole(message.get(..end)?, message.len()) };
    let before = message.get(..opt.start)?;
    if followed || records(before, |_| Some(()))? != opt.start {
        return None;
    }
    let (head, options) = (message.get(..opt.data.start - 2)?, message.get(opt.data)?);
    room.clear();
    room.extend_from_slice(head);
    room.extend_from_slice(&[0; 2]);
    each_option(options, |code, option| {
        if !kept.removes(code) {
            room.extend_from_slice(option);
        }
    })?;
    let length = u16::try_from(room.len() - head.len() - 2).ok()?;
    room.get_mut(head.len()..head.len() + 2)?.copy_from_slice(&length.to_be_bytes());
    whole(room.as_slice(), message.len())
}

/// What is left of a message of that length, unless a name of it reached into what was cut.
fn whole(left: &[u8], before: usize) -> Option<&[u8]> {
    (left.len() == before || records(left, |_| Some(()))? == left.len()).then_some(left)
}

/// Whether one of the options has to go.
fn has_one(options: &[u8], kept: Kept) -> Option<bool> {
    let mut has = false;
    each_option(options, |code, _| has |= kept.removes(code))?;
    Some(has)
}

/// Gives code and all octets of each option (RFC 6891 section 6.1.2).
fn each_option(mut options: &[u8], mut take: impl FnMut(u16, &[u8])) -> Option<()> {
    while !options.is_empty() {
        let (code, length) = (word(options, 0)?, word(options, 2)?);
        let (option, rest) = options.split_at_checked(4 + usize::from(length))?;
        take(code, option);
        options = rest;
    }
    Some(())
}

/// Gives every record, and says where the last one ends. As tolerant as [`crate::decode::Query::read`]: a message may end between records.
fn records(message: &[u8], mut take: impl FnMut(Record) -> Option<()>) -> Option<usize> {
    let mut offset = message.len().min(HEADER);
    let questions = word(message, 4)?;
    for _ in 0..questions {
        if offset == message.len() {
            break;
        }
        // One may end before its type, or before its class.
        offset = (name::walk(message, offset, |_| ()).ok()? + 4).min(message.len());
    }
    let count: u32 = [6, 8, 10].into_iter().try_fold(0, |sum, place| Some(sum + u32::from(word(message, place)?)))?;
    for _ in 0..count {
        if offset == message.len() {
            break;
        }
        let start = offset;
        let after = name::walk(message, start, |_| ()).ok()?;
        let data = after + 10;
        offset = data + usize::from(word(message, after + 8)?);
        if offset > message.len() {
            return None;
        }
        take(Record { start, data: data..offset, is_opt: word(message, after)? == OPT })?;
    }
    Some(offset)
}

fn word(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::{Query, Room};

    const ECS: &[u8] = &[0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];
    const COOKIES: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    const ERROR: &[u8] = &[0, 15, 0, 2, 0, 3];

    fn opt(options: &[&[u8]]) -> Vec<u8> {
        let options = options.concat();
        [&[0, 0, 41, 4, 208, 0, 0, 0, 0][..], &u16::try_from(options.len()).unwrap().to_be_bytes(), &options].concat()
    }

    /// A question, an address, and these in the additional section.
    fn message(additional: &[Vec<u8>]) -> Vec<u8> {
        let head = [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, u8::try_from(additional.len()).unwrap()];
        let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
        [&head[..], b"\x03www\x07example\0\0\x01\0\x01", &answer, &additional.concat()].concat()
    }

    fn stored(message: &[u8]) -> Option<Vec<u8>> {
        without_client(message, Kept::default(), &mut vec![1, 2, 3]).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_tells_of_the_client_is_gone_and_the_rest_stays() {
        let plain = message(&[opt(&[ERROR])]);
        for options in [&[ECS, ERROR][..], &[ERROR, ECS], &[COOKIES, ERROR, ECS], &[ECS, ECS, COOKIES, ERROR]] {
            assert_eq!(stored(&message(&[opt(options)])).unwrap(), plain);
        }
        assert_eq!(stored(&message(&[opt(&[ECS, COOKIES])])).unwrap(), message(&[opt(&[])]));
        assert_eq!(stored(&message(&[opt(&[&[0x50, 0xfa, 0, 1, 9]])])).unwrap(), message(&[opt(&[])]));
        // A record of the additional section before it.
        let address = [&[0xc0, 12][..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2]].concat();
        assert_eq!(stored(&message(&[address.clone(), opt(&[ECS])])).unwrap(), message(&[address, opt(&[])]));
    }

    #[test]
    fn what_is_asked_for_stays() {
        let message = |options: &[&[u8]]| message(&[opt(options)]);
        let both = [&message(&[ECS, COOKIES])[..], b"behind it"].concat();
        let mut room = Vec::new();
        let mut kept = |subnets, cookies| without_client(&both, Kept { subnets, cookies }, &mut room).map(<[u8]>::to_vec);
        assert_eq!(kept(true, false).unwrap(), message(&[ECS]));
        assert_eq!(kept(false, true).unwrap(), message(&[COOKIES]));
        assert_eq!(kept(true, true).unwrap(), both);
    }

    #[test]
    fn what_tells_nothing_is_stored_as_it_came() {
        for message in [message(&[]), message(&[opt(&[])]), message(&[opt(&[ERROR]), vec![0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]])] {
            assert_eq!(stored(&message).unwrap(), message);
            assert_eq!(stored(&[&message[..], b"behind it"].concat()).unwrap(), message);
        }
        // As some resolvers refuse: the header alone, whatever its counters say.
        let header = [0, 7, 0x81, 0x85, 0, 1, 0, 0, 0, 0, 0, 1];
        assert_eq!(stored(&header).unwrap(), header);
        // A question without type or class.
        let cut = [&header[..], b"\x01a\0\0\x01"].concat();
        assert_eq!(stored(&cut).unwrap(), cut);
    }

    #[test]
    fn what_cannot_be_taken_out_is_not_stored() {
        let signature = vec![0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0];
        assert_eq!(stored(&message(&[opt(&[ECS]), signature])), None);
        assert_eq!(stored(&message(&[opt(&[ECS]), opt(&[COOKIES])])), None);
        // The question's name is in the option: the root, where the scope of the subnet stands.
        let mut reaching = [&[0, 7, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 0, 0, 1, 0, 1][..], &opt(&[ECS])].concat();
        reaching[13] = u8::try_from(reaching.len() - 4).unwrap();
        assert!(Query::read(&reaching, &mut Room::default()).is_ok());
        assert_eq!(stored(&reaching), None);
        assert_eq!(stored(&message(&[opt(&[&ECS[..9]])])), None, "an option that ends too early");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(octets in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..12], 0..200)) {
            let _ = stored(&octets);
        }

        /// Whatever the options are, none of the client's is left, all others are, and the message is as good as before.
        #[test]
        fn others_stay(codes in prop::collection::vec((prop_oneof![Just(8_u16), Just(10), Just(0x50fa), 3_u16..30], 0_usize..30), 0..8)) {
            let option = |(code, length): &(u16, usize)| {
                [&code.to_be_bytes()[..], &u16::try_from(*length).unwrap().to_be_bytes(), &vec![0xaa; *length]].concat()
            };
            let all: Vec<_> = codes.iter().map(option).collect();
            let others: Vec<_> = codes.iter().filter(|(code, _)| !Kept::default().removes(*code)).map(option).collect();
            let refs = |options: &[Vec<u8>]| opt(&options.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let (with, without) = (message(&[refs(&all)]), message(&[refs(&others)]));
            prop_assert_eq!(stored(&with), Some(without.clone()));
            let (mut one, mut other) = (Room::default(), Room::default());
            if Query::read(&with, &mut one).is_ok() {
                prop_assert!(Query::read(&without, &mut other).is_ok());
            }
        }
    }
}
