//! What one connection's thread does with its frames.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::counts::{Fate, Tally};
use super::duplicates::Duplicates;
use super::slots::Place;
use super::{InForce, Policy, Shared};
use crate::decode::{Address, CountedTypes, Dropped, Message, Query, Question, Room, Time};
use crate::events::Candidate;
use crate::histogram::{Answer, Hit};
use crate::input::sink::{FrameSink, GROUP};
use crate::list::{ClientVerdict, Entry, List, Lists};
use crate::names::Key;
use crate::sessions::SessionRow;

/// How often the age of a frame is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Takes the frames of one connection.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    place: Place,
    rooms: Box<[Room; GROUP]>,
    keys: Box<[Key; GROUP]>,
    duplicates: Duplicates,
    tally: Tally,
    looked: Option<Instant>,
}

/// A response that counts for somebody.
#[derive(Clone, Copy)]
struct Asked<'a> {
    frame: &'a [u8],
    client: Address<'a>,
    question: Question<'a>,
    response_code: u16,
    flags: u16,
    time: Option<Time>,
    key: &'a Key,
}

impl Sink {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let place = shared.slots.enter();
        let (rooms, keys, duplicates) = (Box::default(), Box::default(), Duplicates::default());
        Self { shared, place, rooms, keys, duplicates, tally: Tally::default(), looked: None }
    }
}

impl FrameSink for Sink {
    fn frames(&mut self, frames: &[&[u8]]) {
        let Self { shared, place, rooms, keys, duplicates, tally, looked } = self;
        let in_force = shared.in_force.load();
        let InForce { policy, lists } = &**in_force;
        let mut asked = [None; GROUP];
        let mut count = 0;
        for ((frame, room), key) in frames.iter().zip(rooms.iter_mut()).zip(keys.iter_mut()) {
            match read(frame, room, key, *policy, lists, duplicates) {
                Ok(good) => {
                    if let Some(slot) = asked.get_mut(count) {
                        *slot = Some(good);
                        count += 1;
                    }
                }
                Err(fate) => tally.add(fate),
            }
        }
        let asked = asked.get(..count).unwrap_or_default();
        let mut found = [None; GROUP];
        if let Some(list) = &lists.well_known {
            look_up(list, asked, &mut found);
            let mut hits = asked.iter().zip(&found).filter_map(|(asked, entry)| asked.as_ref()?.hit((*entry)?));
            if let Some(first) = hits.next() {
                let (mut all, mut count) = ([first; GROUP], 1);
                for (slot, hit) in all.iter_mut().skip(1).zip(hits) {
                    *slot = hit;
                    count += 1;
                }
                place.count(list, policy.histogram, &shared.budget, all.get(..count).unwrap_or_default());
            }
        }
        for (asked, entry) in asked.iter().zip(found) {
            let Some(asked) = asked else { continue };
            tally.add(if entry.is_some() { Fate::WellKnown } else { Fate::OtherName });
            if entry.is_none() {
                shared.events.offer(&asked.candidate(lists.well_known.is_some()));
            }
        }
        if shared.sessions.is_on() {
            let others = asked.iter().zip(found).filter(|(_, entry)| entry.is_none());
            shared.sessions.offer(others.filter_map(|(asked, _)| asked.as_ref()?.row(policy.types)));
        }
        tally.tell(&shared.counts);
        look_at_age(asked, looked, shared);
    }
}

/// What a frame asks, if it counts: upstream's steps in upstream's order.
#[inline]
fn read<'a>(
    frame: &'a [u8],
    room: &'a mut Room,
    key: &'a mut Key,
    policy: Policy,
    lists: &Lists,
    duplicates: &mut Duplicates,
) -> Result<Asked<'a>, Fate> {
    let message = Message::read(frame, policy.types)?;
    match lists.ignored_clients.judge(Some(message.client.octets())) {
        ClientVerdict::Counts => {}
        ClientVerdict::Ignored => return Err(Fate::ClientIgnored),
        ClientVerdict::Unknown => return Err(Fate::ClientUnknown),
    }
    let query = Query::read(message.response, room).map_err(|error| Fate::from(Dropped::from(error)))?;
    let question = query.question.ok_or(Fate::NoQuestion)?;
    if !policy.sending {
        return Err(Fate::NotSending);
    }
    key.read(question.name);
    if let Some(ignored) = &lists.ignored_names
        && is_ignored(ignored, key, &query)
    {
        return Err(Fate::NameIgnored);
    }
    let Query { id, response_code, flags, .. } = query;
    let client = message.client.octets();
    if policy.once && duplicates.is_one(client, message.client_port, id, key.octets(), message.time) {
        return Err(Fate::Duplicate);
    }
    Ok(Asked { frame, client: message.client, question, response_code, flags, time: message.time, key })
}

/// Any question counts here, although only the first one is looked up later.
fn is_ignored(ignored: &List, key: &Key, query: &Query<'_>) -> bool {
    if ignored.find(key.octets()).is_some() {
        return true;
    }
    let (mut other, mut hit) = (Key::default(), false);
    query.other_names(|name| {
        other.read(name);
        hit |= ignored.find(other.octets()).is_some();
    });
    hit
}

fn look_up(list: &List, asked: &[Option<Asked<'_>>], found: &mut [Option<Entry>; GROUP]) {
    let mut names: [&[u8]; GROUP] = [&[]; GROUP];
    for (name, asked) in names.iter_mut().zip(asked.iter().flatten()) {
        *name = asked.key.octets();
    }
    list.find_all(names.get(..asked.len()).unwrap_or_default(), found);
}

impl<'a> Asked<'a> {
    const fn hit(&self, entry: Entry) -> Option<Hit<'a>> {
        let Question { question_type: qtype, class: qclass, .. } = self.question;
        Some(Hit { entry, answer: Answer { qtype, qclass, rcode: self.response_code }, client: self.client.octets() })
    }

    fn candidate(&self, has_list: bool) -> Candidate<'a> {
        let Question { name, question_type: qtype, class: qclass } = self.question;
        let Self { key, flags, time, .. } = *self;
        Candidate { name, key, qtype, qclass, flags, time, client: self.client.octets(), has_list }
    }

    /// Read again: to carry all of a message along would cost those as well who write no rows.
    fn row(&self, types: CountedTypes) -> Option<SessionRow<'a>> {
        let message = Message::read(self.frame, types).ok()?;
        Some(SessionRow { message, name: self.question.name })
    }
}

/// Now and then, since two clocks have to be asked for it.
fn look_at_age(asked: &[Option<Asked<'_>>], looked: &mut Option<Instant>, shared: &Shared) {
    let Some(time) = asked.iter().flatten().find_map(|asked| asked.time) else { return };
    let now = Instant::now();
    if looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
        return;
    }
    *looked = Some(now);
    let answered =
        UNIX_EPOCH.checked_add(Duration::new(time.seconds.cast_unsigned(), 0) + Duration::from_nanos(time.nanoseconds.into()));
    // Of a clock that is ahead of this one nothing can be said.
    if let Some(age) = answered.and_then(|answered| SystemTime::now().duration_since(answered).ok()) {
        shared.lag.aged(now, age);
    }
}
