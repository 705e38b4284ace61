//! Who asks, before what is asked: addresses, signatures, and the signature of the answer.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;

use super::acl::Acl;
use super::answer::{Answer, Transport, answer_leaving, header_only};
use super::records::{HEADER, WireName};
use super::render::Sign;
use super::tsig::{self, Keys, Refusal, Signer, without_signature};
use super::zone::Zone;
use crate::feeds::rpz::Notified;

/// Who may ask, and with which keys.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// From where, and whether signed.
    pub acl: Acl,
    /// Keys.
    pub keys: Keys,
    /// Feeds that may be notified of news, whoever may ask for the zone.
    pub notified: Notified,
    /// Keys that NOTIFYs may be signed with.
    pub feed_keys: Keys,
    /// TCP connections at each address, if that was said.
    pub connections: Option<usize>,
}

/// What is done about a request.
#[derive(Debug)]
pub struct Guarded<Z: Zone> {
    /// The answer; a single message is signed already.
    pub answer: Answer<Z>,
    /// For the messages of a transfer.
    pub signer: Option<Signer>,
    /// Why it was turned away, as label for metrics.
    pub refused: Option<&'static str>,
}

impl Guard {
    /// Answers one request.
    #[must_use]
    pub fn answer<Z: Zone>(&self, request: &[u8], peer: IpAddr, transport: Transport, zone: Option<&Arc<Z>>) -> Guarded<Z> {
        if let Some(taken) = self.take_notify(request, peer) {
            return taken;
        }
        if !self.acl.permits(peer) {
            return turned_away(header_only(request, ResponseCode::Refused), "address");
        }
        let verified = match self.keys.check(request, tsig::now()) {
            Ok(verified) => verified,
            Err(refusal) => return turned_away(not_signed_well(request, &refusal), refusal.label()),
        };
        let Some(verified) = verified else {
            let answer = answer_leaving(0, request, transport, zone);
            if self.acl.signed_only && matches!(answer, Answer::Transfer(_)) {
                return turned_away(header_only(request, ResponseCode::Refused), "not_signed");
            }
            return Guarded { answer, signer: None, refused: None };
        };
        let mut signer = verified.signer(tsig::now);
        let request = without_signature(request, verified.at);
        let mut answer = answer_leaving(signer.room(), &request, transport, zone);
        if let Answer::Message(message) = &mut answer {
            signer.append(message);
        }
        Guarded { answer, signer: Some(signer), refused: None }
    }
}

impl Guard {
    /// The answer to a NOTIFY that a feed takes (RFC 1996); `None`: it is none, or nobody takes it.
    fn take_notify<Z: Zone>(&self, request: &[u8], peer: IpAddr) -> Option<Guarded<Z>> {
        let flags = *request.get(2)?;
        if flags & RESPONSE_AND_OPCODE != NOTIFY {
            return None;
        }
        let (zone, _) = WireName::read(request, HEADER).ok()?;
        let verified = self.feed_keys.check(request, tsig::now()).ok()?;
        if !self.notified.ring(&zone, peer, verified.as_ref().map(|verified| &verified.key.name)) {
            return None;
        }
        let mut signer = verified.as_ref().map(|verified| verified.signer(tsig::now));
        let plain = verified.map_or_else(|| request.to_vec(), |verified| without_signature(request, verified.at));
        let Answer::Message(mut message) = header_only::<Z>(&plain, ResponseCode::NoError) else { return None };
        if let Some(signer) = &mut signer {
            signer.append(&mut message);
        }
        Some(Guarded { answer: Answer::Message(message), signer, refused: None })
    }
}

/// Bits of a header's third octet, and what they are in a NOTIFY that is no response.
const RESPONSE_AND_OPCODE: u8 = 0xf8;
const NOTIFY: u8 = 4 << 3;

const fn turned_away<Z: Zone>(answer: Answer<Z>, why: &'static str) -> Guarded<Z> {
    Guarded { answer, signer: None, refused: Some(why) }
}

fn not_signed_well<Z: Zone>(request: &[u8], refusal: &Refusal) -> Answer<Z> {
    let request = refusal.at().map_or_else(|| request.to_vec(), |at| without_signature(request, at));
    let code = ResponseCode::from(0, refusal.response_code());
    let Answer::Message(mut message) = header_only::<Z>(&request, code) else { return Answer::None };
    // With the question, by which some clients find what the answer belongs to.
    if let Ok(reader) = super::records::Reader::new(&request)
        && reader.question().is_some()
        && let Some(question) = request.get(HEADER..reader.at())
        && let Some(count) = message.get_mut(4..6)
    {
        count.copy_from_slice(&[0, 1]);
        message.extend(question);
    }
    refusal.append(&mut message);
    Answer::Message(message)
}
