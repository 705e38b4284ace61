//! A snapshot as the messages of a transfer (RFC 5936), made one after the other while the reader takes them.

use std::sync::Arc;

use tapir_wire::name::Name;

use super::wire::{Full, NAME_SERVERS, SMALLEST_LIMIT, Writer};
use crate::zone::{Data, Snapshot};

/// Size of a message at most: all that TCP's length prefix can say.
pub const MESSAGE_LIMIT: usize = 65_535;

/// A transfer that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Id of the request.
    pub id: u16,
    /// Its question in wire form; comes back in the first message only (RFC 5936 section 2.2.1).
    pub question: Vec<u8>,
    /// What is sent: one version from beginning to end.
    pub snapshot: Arc<Snapshot>,
}

enum Item<'a> {
    Soa,
    NameServer(usize),
    Policy(&'a Name, Data<'a>),
}

impl Transfer {
    /// The messages.
    pub fn messages(&self, limit: usize) -> impl Iterator<Item = Vec<u8>> {
        let limit = limit.clamp(SMALLEST_LIMIT, MESSAGE_LIMIT);
        let content = &self.snapshot.content;
        let servers = (0..NAME_SERVERS.len()).map(Item::NameServer);
        let policy = content.records.iter();
        let policy = policy.flat_map(|(owner, action)| content.data(*action).map(move |data| Item::Policy(owner, data)));
        let mut items = std::iter::once(Item::Soa).chain(servers).chain(policy).chain(std::iter::once(Item::Soa)).peekable();
        let mut question = Some(self.question.as_slice());
        let zone = content.zone.name().to_wire();
        std::iter::from_fn(move || {
            items.peek()?;
            let mut writer = Writer::new(&zone, self.id, question.take(), limit);
            while let Some(item) = items.peek() {
                match self.write(&mut writer, item) {
                    Ok(()) => {}
                    Err(Full) if !writer.is_empty() => break,
                    // Does not fit into an empty message: cannot be, names and limit are bounded. Leaving it out ends the loop.
                    Err(Full) => {}
                }
                items.next();
            }
            Some(writer.finish())
        })
    }

    /// "Already current": the SOA alone (RFC 1995 section 2).
    #[must_use]
    pub fn current(&self) -> Vec<u8> {
        let zone = self.snapshot.content.zone.name().to_wire();
        let mut writer = Writer::new(&zone, self.id, Some(&self.question), SMALLEST_LIMIT);
        // A SOA fits into the smallest limit.
        let _ = writer.soa(self.snapshot.serial);
        writer.finish()
    }

    fn write(&self, writer: &mut Writer<'_>, item: &Item<'_>) -> Result<(), Full> {
        match item {
            Item::Soa => writer.soa(self.snapshot.serial),
            Item::NameServer(index) => writer.name_server(*index),
            Item::Policy(owner, data) => writer.policy(owner, self.snapshot.content.record_ttl, *data),
        }
    }
}

impl Transfer {
    /// "Not now": SERVFAIL.
    #[must_use]
    pub fn busy(&self) -> Vec<u8> {
        let mut message = Writer::new(&[], self.id, Some(&self.question), SMALLEST_LIMIT).finish();
        if let Some(flags) = message.get_mut(3) {
            *flags |= 2;
        }
        message
    }
}
