//! Request and snapshot -> answer. Pure; shared by UDP and TCP.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use tapir_wire::name::Name;

use super::transfer::Transfer;
use super::wire::{EXPIRE, MINIMUM, MNAME, NAME_SERVERS, REFRESH, RETRY, RNAME, TTL};
use crate::names::ZoneName;
use crate::zone::{Data, Serial, Snapshot};

/// How the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram; no transfers.
    Udp,
    /// A stream.
    Tcp,
}

/// What is done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is no request.
    None,
    /// One message.
    Message(Vec<u8>),
    /// The zone follows.
    Transfer(Transfer),
}

/// What UDP answers may have, and what is told in EDNS (the DNS flag day's value). None of ours comes near it.
const UDP_PAYLOAD: u16 = 1232;

/// Answers one request. Without a snapshot (before any configuration) everything is SERVFAIL: an empty zone would make a
/// resolver drop what it still protects with.
#[must_use]
pub fn answer(request: &[u8], transport: Transport, snapshot: Option<&Arc<Snapshot>>) -> Answer {
    let Ok(message) = Message::from_vec(request) else {
        return format_error(request);
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
    let [query] = message.queries.as_slice() else {
        return coded(response, ResponseCode::FormErr);
    };
    match message.metadata.op_code {
        OpCode::Query => {}
        // Nothing that could be notified of is configured here.
        OpCode::Notify => return coded(response, ResponseCode::NotAuth),
        _ => return coded(response, ResponseCode::NotImp),
    }
    let Some(snapshot) = snapshot else {
        return coded(response, ResponseCode::ServFail);
    };
    let Some(zone) = wire_name(snapshot.content.zone.name()) else {
        return coded(response, ResponseCode::ServFail);
    };
    if query.query_class() != DNSClass::IN || !zone.zone_of(query.name()) {
        return coded(response, ResponseCode::Refused);
    }
    if query.name() == &zone {
        return apex(response, &message, query, transport, snapshot);
    }
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        // RFC 5936 section 2.2.1: not a zone of ours.
        return coded(response, ResponseCode::NotAuth);
    }
    below(response, query, &zone, snapshot)
}

fn apex(mut response: Message, request: &Message, query: &Query, transport: Transport, snapshot: &Arc<Snapshot>) -> Answer {
    let zone = &snapshot.content.zone;
    response.metadata.authoritative = true;
    match (query.query_type(), transport) {
        (RecordType::SOA, _) => {
            response.answers.extend(soa(zone, snapshot.serial));
            response.authorities.extend(name_servers(zone));
        }
        (RecordType::NS, _) => response.answers.extend(name_servers(zone)),
        (RecordType::AXFR, Transport::Udp) => response.metadata.truncation = true,
        // RFC 1995 section 2: the current SOA alone tells a client over UDP to come back with TCP, or that it is current.
        (RecordType::IXFR, Transport::Udp) => response.answers.extend(soa(zone, snapshot.serial)),
        (RecordType::AXFR, Transport::Tcp) => return transfer(&response, query, snapshot),
        (RecordType::IXFR, Transport::Tcp) => return incremental(&response, request, query, snapshot),
        (RecordType::ANY, _) => {
            response.answers.extend(soa(zone, snapshot.serial));
            response.answers.extend(name_servers(zone));
        }
        _ => response.authorities.extend(soa(zone, snapshot.serial)),
    }
    coded(response, ResponseCode::NoError)
}

/// Below the zone: for people who look. Only who asks for the CNAME that is there gets it: following `CNAME .` helps nobody.
fn below(mut response: Message, query: &Query, zone_name: &WireName, snapshot: &Snapshot) -> Answer {
    let zone = &snapshot.content.zone;
    response.metadata.authoritative = true;
    let found = owner(query.name(), zone_name).and_then(|owner| snapshot.content.records.get(&owner));
    let Some(action) = found else {
        response.authorities.extend(soa(zone, snapshot.serial));
        return coded(response, ResponseCode::NXDomain);
    };
    let data = snapshot.content.data(*action).map(rdata);
    let asked = |data: &RData| query.query_type() == RecordType::ANY || query.query_type() == data.record_type();
    let record = |data| Record::from_rdata(query.name().clone(), snapshot.content.record_ttl, data);
    response.answers.extend(data.filter(asked).map(record));
    if response.answers.is_empty() {
        response.authorities.extend(soa(zone, snapshot.serial));
    } else {
        response.authorities.extend(name_servers(zone));
    }
    coded(response, ResponseCode::NoError)
}

fn rdata(data: Data<'_>) -> RData {
    match data {
        Data::Special(target) => RData::CNAME(CNAME(WireName::from_ascii(target).unwrap_or_default())),
        Data::Name(name) => RData::CNAME(CNAME(wire_name(name).unwrap_or_default())),
        Data::Address(IpAddr::V4(address)) => RData::A(A(address)),
        Data::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
    }
}

fn transfer(response: &Message, query: &Query, snapshot: &Arc<Snapshot>) -> Answer {
    let mut question = Vec::new();
    let emitted = query.emit(&mut BinEncoder::new(&mut question));
    if emitted.is_err() {
        return coded(response.clone(), ResponseCode::ServFail);
    }
    Answer::Transfer(Transfer { id: response.metadata.id, question, snapshot: Arc::clone(snapshot) })
}

/// RFC 1995: a client that has this version gets the SOA alone, everyone else the whole zone. A client that is *ahead*
/// (RFC 1982) does too: what it holds is not from here.
fn incremental(response: &Message, request: &Message, query: &Query, snapshot: &Arc<Snapshot>) -> Answer {
    let held = request.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(Serial(soa.serial)),
        _ => None,
    });
    match (held, transfer(response, query, snapshot)) {
        (None, _) => coded(response.clone(), ResponseCode::FormErr),
        (Some(held), Answer::Transfer(transfer)) if held == snapshot.serial => Answer::Message(transfer.current()),
        (Some(_), transfer) => transfer,
    }
}

/// The SOA record as hickory knows it.
#[must_use]
pub fn soa(zone: &ZoneName, serial: Serial) -> Option<Record> {
    let timer = |seconds| i32::try_from(seconds).unwrap_or(i32::MAX);
    let mname = WireName::from_ascii(MNAME).ok()?;
    let rname = WireName::from_ascii(RNAME).ok()?;
    let data = SOA::new(mname, rname, serial.0, timer(REFRESH), timer(RETRY), timer(EXPIRE), MINIMUM);
    Some(Record::from_rdata(wire_name(zone.name())?, TTL, RData::SOA(data)))
}

fn name_servers(zone: &ZoneName) -> Vec<Record> {
    let Some(owner) = wire_name(zone.name()) else { return Vec::new() };
    let server = |label: &&str| owner.prepend_label(*label).ok();
    let record = |target| Record::from_rdata(owner.clone(), TTL, RData::NS(NS(target)));
    NAME_SERVERS.iter().filter_map(server).map(record).collect()
}

/// The name in hickory's type.
#[must_use]
pub fn wire_name(name: &Name) -> Option<WireName> {
    WireName::from_ascii(name.as_str()).ok()
}

/// The owner without the zone's name. Octets are escaped by number, so that a dot inside a label stays there.
fn owner(name: &WireName, zone: &WireName) -> Option<Name> {
    let own = name.iter().count().checked_sub(zone.iter().count())?;
    let mut text = String::new();
    for label in name.iter().take(own) {
        for octet in label {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => text.push(char::from(*octet)),
                _ => text.push_str(&format!("\\{octet:03}")),
            }
        }
        text.push('.');
    }
    Name::parse(&text).ok()
}

fn coded(mut response: Message, code: ResponseCode) -> Answer {
    response.metadata.response_code = code;
    response.to_vec().map_or(Answer::None, Answer::Message)
}

/// The answer to someone who may not ask.
#[must_use]
pub fn refused(request: &[u8]) -> Answer {
    header_only(request, ResponseCode::Refused)
}

/// Not even readable: the id comes back, if this has the look of a request.
fn format_error(request: &[u8]) -> Answer {
    header_only(request, ResponseCode::FormErr)
}

fn header_only(request: &[u8], code: ResponseCode) -> Answer {
    let [high, low, flags, ..] = request else { return Answer::None };
    if request.len() < 12 || flags & 0x80 != 0 {
        return Answer::None;
    }
    let op_code = OpCode::from_u8((flags >> 3) & 0x0f);
    coded(Message::response(u16::from_be_bytes([*high, *low]), op_code), code)
}
