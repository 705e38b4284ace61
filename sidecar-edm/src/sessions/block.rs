//! Rows on their way from a connection to the thread that writes them.

use std::fmt;

use super::SessionRow;
use crate::decode::Time;
use crate::names::WireName;
use crate::pseudonym::SentAddress;

/// Rows of a block.
pub(super) const ROWS: usize = 2048;
/// What is of no fixed size in them.
pub(super) const OCTETS: usize = 512 * 1024;
/// What a block takes of memory.
pub(super) const MOST: usize = OCTETS + ROWS * size_of::<Fixed>();

/// Rows, copied out of the frames that they came in. Addresses are still those of clients: nothing of it is printed.
pub(super) struct Block {
    rows: Vec<Fixed>,
    octets: Vec<u8>,
}

/// What has a fixed size.
#[derive(Clone, Copy)]
pub(super) struct Fixed {
    pub(super) client: SentAddress,
    pub(super) server: SentAddress,
    pub(super) family: Option<i32>,
    pub(super) protocol: Option<i32>,
    pub(super) client_port: Option<u32>,
    pub(super) server_port: Option<u32>,
    pub(super) time: Option<Time>,
    labels: u8,
    name: usize,
    identity: usize,
    response: usize,
}

/// A row again.
pub(super) struct Stored<'a> {
    pub(super) fixed: &'a Fixed,
    pub(super) name: WireName<'a>,
    pub(super) identity: &'a [u8],
    pub(super) response: &'a [u8],
}

impl Block {
    pub(super) fn new() -> Self {
        Self { rows: Vec::with_capacity(ROWS), octets: Vec::with_capacity(OCTETS) }
    }

    /// False when there is no room.
    pub(super) fn push(&mut self, row: &SessionRow<'_>) -> bool {
        let (message, name) = (row.message, row.name.octets());
        let octets = name.len() + message.identity.len() + message.response.len();
        if self.rows.len() >= ROWS || self.octets.len() + octets > OCTETS {
            return false;
        }
        for part in [name, message.identity, message.response] {
            self.octets.extend_from_slice(part);
        }
        self.rows.push(Fixed {
            client: SentAddress::of(message.client.octets()),
            server: SentAddress::of(message.server.octets()),
            family: message.family,
            protocol: message.protocol,
            client_port: message.client_port,
            server_port: message.server_port,
            time: message.time,
            // A name has at most 127 labels.
            labels: row.name.label_count() as u8,
            name: name.len(),
            identity: message.identity.len(),
            response: message.response.len(),
        });
        true
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Stored<'_>> {
        let mut rest = self.octets.as_slice();
        self.rows.iter().map_while(move |fixed| {
            let mut take = |octets: usize| {
                let (taken, after) = rest.split_at_checked(octets)?;
                rest = after;
                Some(taken)
            };
            let (name, identity, response) = (take(fixed.name)?, take(fixed.identity)?, take(fixed.response)?);
            Some(Stored { fixed, name: WireName::known(name, fixed.labels), identity, response })
        })
    }

    /// Empty again; the room is kept.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.octets.clear();
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Block").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Message;

    #[test]
    fn rows_come_out_as_they_went_in_until_there_is_no_room() {
        let mut block = Block::new();
        let large = vec![7; OCTETS / 2];
        let names = [&b"\x01a\0"[..], b"\0"];
        fn message(response: &[u8]) -> Message<'_> {
            Message { identity: b"id", response, client_port: Some(9), ..Message::default() }
        }
        let row = |block: &mut Block, name: usize, response: &[u8]| {
            block.push(&SessionRow { message: message(response), name: WireName::from_octets(names[name]).unwrap() })
        };
        assert!(row(&mut block, 0, b"") && row(&mut block, 1, &large));
        assert!(!row(&mut block, 0, &large), "too many octets");
        assert!(row(&mut block, 0, b"x"));
        let rows: Vec<_> = block.rows().map(|row| (row.name, row.identity, row.response.len(), row.fixed.client_port)).collect();
        let name = |name: usize| WireName::from_octets(names[name]).unwrap();
        let id = &b"id"[..];
        assert_eq!(rows, [(name(0), id, 0, Some(9)), (name(1), id, large.len(), Some(9)), (name(0), id, 1, Some(9))]);
        block.clear();
        assert_eq!((block.len(), block.rows().count()), (0, 0));
        assert!((0..ROWS).all(|_| row(&mut block, 1, b"")) && !row(&mut block, 1, b""), "too many rows");
        assert_eq!(format!("{block:?}"), "Block { rows: 2048, .. }");
    }
}
