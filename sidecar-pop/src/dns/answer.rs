//! Request and version of the zone -> answer. Pure; shared by UDP and TCP. Who asks is the matter of [`super::guard`].

use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{DNSClass, Name as HickoryName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use tapir_table::{Code, KeyBuf, ReadError};

use super::records::{WireName, kind};
use super::render::target;
use super::transfer::Transfer;
use super::zone::{Apex, Zone, name};
use crate::zone::Serial;

/// How the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram; no transfers.
    Udp,
    /// A stream.
    Tcp,
}

/// What is done about a request.
#[derive(Debug)]
pub enum Answer<Z: Zone> {
    /// Nothing: it is no request.
    None,
    /// One message.
    Message(Vec<u8>),
    /// Many.
    Transfer(Transfer<Z>),
}

/// What is told in EDNS, and what an answer over UDP may have at most (the DNS flag day's value).
const UDP_PAYLOAD: u16 = 1232;
/// The same for who has no EDNS (RFC 1035 section 4.2.1).
const UDP_PLAIN: usize = 512;

/// Answers one request. Without a version of the zone (before any configuration) everything
/// is SERVFAIL: an empty zone would make a resolver drop what it still protects with.
#[must_use]
pub fn answer<Z: Zone>(request: &[u8], transport: Transport, zone: Option<&Arc<Z>>) -> Answer<Z> {
    answer_leaving(0, request, transport, zone)
}

/// The same, leaving `room` octets for a signature.
pub(super) fn answer_leaving<Z: Zone>(room: usize, request: &[u8], transport: Transport, zone: Option<&Arc<Z>>) -> Answer<Z> {
    let Ok(message) = Message::from_vec(request) else {
        return header_only(request, ResponseCode::FormErr);
    };
    if message.metadata.message_type == MessageType::Response {
        return Answer::None;
    }
    let mut response = Message::response(message.metadata.id, message.metadata.op_code);
    response.metadata = Metadata::response_from_request(&message.metadata);
    response.queries.clone_from(&message.queries);
    if message.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        response.edns = Some(edns);
    }
    let payload = message.edns.as_ref().map_or(UDP_PLAIN, |edns| edns.max_payload().clamp(512, UDP_PAYLOAD).into());
    let limit = if transport == Transport::Udp { payload } else { u16::MAX.into() };
    let answered = about(response.clone(), &message, transport, zone).unwrap_or_else(|error| {
        tracing::error!(%error, "the zone cannot be read");
        coded(response, ResponseCode::ServFail)
    });
    match answered {
        Answer::Message(whole) if whole.len() + room > limit => truncated(&whole),
        answered => answered,
    }
}

fn about<Z: Zone>(
    response: Message,
    request: &Message,
    transport: Transport,
    zone: Option<&Arc<Z>>,
) -> Result<Answer<Z>, ReadError> {
    let [query] = request.queries.as_slice() else {
        return Ok(coded(response, ResponseCode::FormErr));
    };
    match request.metadata.op_code {
        OpCode::Query => {}
        // Nothing that could be notified of is configured here.
        OpCode::Notify => return Ok(coded(response, ResponseCode::NotAuth)),
        _ => return Ok(coded(response, ResponseCode::NotImp)),
    }
    let Some(zone) = zone else {
        return Ok(coded(response, ResponseCode::ServFail));
    };
    let apex = zone.apex();
    let zone_name = name(&apex.name);
    if query.query_class() != DNSClass::IN || !zone_name.zone_of(query.name()) {
        return Ok(coded(response, ResponseCode::Refused));
    }
    if query.name() == &zone_name {
        return Ok(at_apex(response, request, query, transport, zone, &apex));
    }
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        // RFC 5936 section 2.2.1: not a zone of ours.
        return Ok(coded(response, ResponseCode::NotAuth));
    }
    below(response, query, zone, &apex)
}

fn at_apex<Z: Zone>(
    mut response: Message,
    request: &Message,
    query: &Query,
    transport: Transport,
    zone: &Arc<Z>,
    apex: &Apex,
) -> Answer<Z> {
    response.metadata.authoritative = true;
    let soa = || apex.soa(zone.serial());
    match (query.query_type(), transport) {
        (RecordType::SOA, _) => {
            response.add_answer(soa());
            response.authorities.extend(apex.name_servers());
        }
        (RecordType::NS, _) => response.answers.extend(apex.name_servers()),
        (RecordType::AXFR, Transport::Udp) => response.metadata.truncation = true,
        // RFC 1995 section 2: the current SOA alone tells a client over UDP to come back with TCP, or that it is current.
        (RecordType::IXFR, Transport::Udp) => {
            response.add_answer(soa());
        }
        (RecordType::AXFR, Transport::Tcp) => return transfer(response, query, zone, None, soa),
        (RecordType::IXFR, Transport::Tcp) => return transfer(response, query, zone, held(request), soa),
        (RecordType::ANY, _) => {
            response.add_answer(soa());
            response.answers.extend(apex.name_servers());
        }
        _ => {
            response.add_authority(soa());
        }
    }
    coded(response, ResponseCode::NoError)
}

/// The version that the client has (RFC 1995 section 3). Who does not say gets all.
fn held(request: &Message) -> Option<Serial> {
    request.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(Serial(soa.serial)),
        _ => None,
    })
}

/// A client that has this version gets the SOA alone (RFC 1995 section 2).
fn transfer<Z: Zone>(
    mut response: Message,
    query: &Query,
    zone: &Arc<Z>,
    held: Option<Serial>,
    soa: impl Fn() -> Record,
) -> Answer<Z> {
    let mut question = Vec::new();
    if query.emit(&mut BinEncoder::new(&mut question)).is_err() {
        return coded(response, ResponseCode::ServFail);
    }
    match Transfer::of(response.metadata.id, question, zone, held) {
        Some(transfer) => Answer::Transfer(transfer),
        None => {
            response.add_answer(soa());
            coded(response, ResponseCode::NoError)
        }
    }
}

/// Below the zone: for people who look. Only who asks for the CNAME that is there gets it: following `CNAME .` helps nobody.
fn below<Z: Zone>(mut response: Message, query: &Query, zone: &Arc<Z>, apex: &Apex) -> Result<Answer<Z>, ReadError> {
    response.metadata.authoritative = true;
    let code = published(query.name(), zone, apex)?;
    if code.is_silent() {
        response.add_authority(apex.soa(zone.serial()));
        return Ok(coded(response, ResponseCode::NXDomain));
    }
    let special = target(code).map(|target| (kind::CNAME, target.to_vec()));
    let palette = zone.palette();
    let local = palette.get(code).into_iter().flat_map(|set| set.records()).map(|(kind, data)| (kind, data.to_vec()));
    for (kind, data) in special.into_iter().chain(local) {
        let kind = RecordType::from(kind);
        if matches!(query.query_type(), asked if asked == kind || asked == RecordType::ANY) {
            // Octets as they are: nothing in them is compressed.
            let data = RData::Unknown { code: kind, rdata: NULL::with(data) };
            response.add_answer(Record::from_rdata(query.name().clone(), apex.record_ttl, data));
        }
    }
    if response.answers.is_empty() {
        response.add_authority(apex.soa(zone.serial()));
    } else {
        response.authorities.extend(apex.name_servers());
    }
    Ok(coded(response, ResponseCode::NoError))
}

/// The code of the owner that is asked for; a wildcard is asked for by its asterisk.
fn published<Z: Zone>(asked: &HickoryName, zone: &Arc<Z>, apex: &Apex) -> Result<Code, ReadError> {
    let mut wire: Vec<u8> = Vec::new();
    for label in asked.iter() {
        wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        wire.extend(label);
    }
    wire.push(0);
    let owner = WireName::from_wire(&wire).ok();
    let Some(labels) = owner.as_ref().and_then(|owner| owner.below(&apex.name)) else { return Ok(Code::SILENT) };
    let find = |labels: &[u8]| match KeyBuf::from_wire(labels, labels.len()) {
        Ok(key) => zone.find(&key),
        Err(_) => Ok(tapir_table::Codes::SILENT),
    };
    match labels.strip_prefix(b"\x01*") {
        Some(parent) => Ok(find(parent)?.below),
        None => Ok(find(labels)?.own),
    }
}

fn coded<Z: Zone>(mut response: Message, code: ResponseCode) -> Answer<Z> {
    response.metadata.response_code = code;
    response.to_vec().map_or(Answer::None, Answer::Message)
}

/// Header and question with TC: the client comes back over TCP (RFC 7766 section 5).
fn truncated<Z: Zone>(whole: &[u8]) -> Answer<Z> {
    let Ok(mut message) = Message::from_vec(whole) else { return Answer::None };
    message.metadata.truncation = true;
    message.answers.clear();
    message.authorities.clear();
    message.to_vec().map_or(Answer::None, Answer::Message)
}

/// The answer to who may not ask, or whose octets cannot be read: the id comes back, if this has the look of a request.
#[must_use]
pub fn header_only<Z: Zone>(request: &[u8], code: ResponseCode) -> Answer<Z> {
    let [high, low, flags, ..] = request else { return Answer::None };
    if request.len() < 12 || flags & 0x80 != 0 {
        return Answer::None;
    }
    let op_code = OpCode::from_u8((flags >> 3) & 0x0f);
    coded(Message::response(u16::from_be_bytes([*high, *low]), op_code), code)
}
