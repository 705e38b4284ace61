//! Takes a transfer as fast as a socket gives it: of a message only its length, its number of records and its last octets are looked at,
//! and of the first its SOA.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Zone of all measurements, in wire form.
pub(super) const ZONE: &[u8] = b"\x08dnstapir\0";
const AXFR: u16 = 252;
const SOA: u16 = 6;
/// What is read at a time, at most.
const WINDOW: usize = 1 << 20;
/// Nothing comes for so long: it will not come.
const PATIENCE: Duration = Duration::from_secs(30);
const HEADER: usize = 12;

/// A whole transfer: it begins and ends with the same SOA.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub(super) serial: u32,
    /// Of the apex, too.
    pub(super) records: u64,
    pub(super) took: Duration,
}

impl Transfer {
    pub(super) fn rate(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }
}

/// Takes all of it. `keep` gets its octets.
pub(super) fn take(server: SocketAddr, mut keep: Option<&mut Vec<u8>>) -> Result<Transfer> {
    let began = Instant::now();
    let mut stream = ask(server)?;
    let mut buffer = vec![0; WINDOW];
    let (mut filled, mut messages) = (0, Messages::default());
    loop {
        let free = buffer.get_mut(filled..).unwrap_or_default();
        let count = stream.read(free).context("reading a transfer")?;
        if count == 0 {
            bail!("the transfer ended after {} records", messages.records);
        }
        if let Some(keep) = &mut keep {
            keep.extend_from_slice(free.get(..count).unwrap_or_default());
        }
        filled += count;
        let used = messages.take(buffer.get(..filled).unwrap_or_default())?;
        if let Some(serial) = messages.ended() {
            return Ok(Transfer { serial, records: messages.records, took: began.elapsed() });
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// Asks, takes so much, and no more. The reader is stalled until this is dropped.
pub(super) fn stall(server: SocketAddr, after: usize) -> Result<TcpStream> {
    let mut stream = ask(server)?;
    stream.read_exact(&mut vec![0; after]).context("reading the beginning of a transfer")?;
    Ok(stream)
}

fn ask(server: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("connecting to {server}"))?;
    stream.set_nodelay(true).context("setting up a connection")?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting up a connection")?;
    let mut request = question(0x1234, AXFR);
    let length = u16::try_from(request.len()).unwrap_or_default().to_be_bytes();
    request.splice(0..0, length);
    stream.write_all(&request).context("asking for a transfer")?;
    Ok(stream)
}

/// A query for the zone's name.
pub(super) fn question(id: u16, kind: u16) -> Vec<u8> {
    let mut message: Vec<u8> = [id, 0, 1, 0, 0, 0].iter().flat_map(|field| field.to_be_bytes()).collect();
    message.extend_from_slice(ZONE);
    message.extend([kind, 1].iter().flat_map(|field| field.to_be_bytes()));
    message
}

#[derive(Debug, Default)]
struct Messages {
    records: u64,
    /// Serial and timers of the SOA that it began with.
    soa: Option<[u8; 20]>,
    ended: bool,
}

impl Messages {
    /// Takes whole messages; octets that were used.
    fn take(&mut self, octets: &[u8]) -> Result<usize> {
        let mut rest = octets;
        while !self.ended
            && let Some((length, behind)) = rest.split_first_chunk::<2>()
            && let Some((message, behind)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        {
            self.message(message)?;
            rest = behind;
        }
        Ok(octets.len() - rest.len())
    }

    fn message(&mut self, message: &[u8]) -> Result<()> {
        let Some(&[_, _, _, code, _, _, high, low, ..]) = message.first_chunk::<HEADER>().map(<[u8; HEADER]>::as_slice) else {
            bail!("a message without a header");
        };
        if code & 0x0F != 0 {
            bail!("the transfer is answered with code {}", code & 0x0F);
        }
        let records = u16::from_be_bytes([high, low]);
        let is_first = self.soa.is_none();
        if is_first {
            self.soa = Some(soa(message).context("the transfer begins without a SOA")?);
        }
        self.records += u64::from(records);
        self.ended = (!is_first || records > 1) && self.soa.is_some_and(|soa| message.ends_with(&soa));
        Ok(())
    }

    fn ended(&self) -> Option<u32> {
        let soa = self.soa.filter(|_| self.ended)?;
        soa.first_chunk().map(|serial| u32::from_be_bytes(*serial))
    }
}

/// Serial and timers of a message's first record, if that is a SOA.
pub(super) fn soa(message: &[u8]) -> Option<[u8; 20]> {
    let question = message.get(HEADER..)?.strip_prefix(ZONE)?.get(4..)?;
    let record = question.strip_prefix(ZONE).or_else(|| question.strip_prefix(&[0xC0, 12]))?;
    let (head, data) = record.split_first_chunk::<10>()?;
    let [kind @ .., _, _, _, _, _, _, high, low] = *head;
    let data = data.get(..usize::from(u16::from_be_bytes([high, low])))?;
    data.last_chunk().copied().filter(|_| kind == SOA.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(records: &[&[u8]]) -> Vec<u8> {
        let mut message = question(1, AXFR);
        message[2] = 0x84;
        message[7] = records.len() as u8;
        records.iter().for_each(|record| message.extend_from_slice(record));
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        [&length[..], &message].concat()
    }

    fn soa_record(serial: u32) -> Vec<u8> {
        let timers = [serial, 1, 2, 3, 4].map(u32::to_be_bytes).concat();
        [&[0xC0, 12, 0, 6, 0, 1, 0, 0, 0, 9, 0, 22, 0, 0][..], &timers].concat()
    }

    #[test]
    fn a_transfer_is_whole_with_its_second_soa() {
        let other: &[u8] = &[1, b'a', 0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 1, 0];
        let octets = [message(&[&soa_record(7)]), message(&[other, other]), message(&[&soa_record(7)])].concat();
        let mut messages = Messages::default();
        let used = messages.take(&octets[..octets.len() - 1]).unwrap();
        assert_eq!((messages.ended(), messages.records), (None, 3));
        assert_eq!(messages.take(&octets[used..]).unwrap(), octets.len() - used);
        assert_eq!((messages.ended(), messages.records), (Some(7), 4));
        let mut small = Messages::default();
        small.take(&message(&[&soa_record(7), other, &soa_record(8)])).unwrap();
        assert_eq!(small.ended(), None, "another version");
        small.take(&message(&[&soa_record(7)])).unwrap();
        assert_eq!(small.ended(), Some(7));
        let mut refused = message(&[]);
        refused[5] = 5;
        assert!(Messages::default().take(&refused).is_err());
    }
}
