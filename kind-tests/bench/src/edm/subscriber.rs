//! Core, as far as events go: everything that the broker has, taken with QoS 1 over a plain connection (MQTT 5), kept, and checked afterwards.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws;

/// CONNECT: clean start, no keep-alive, no properties, client "core" (MQTT 5 section 3.1).
const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04core";
/// SUBSCRIBE to `events/up/#` with QoS 1 (section 3.8).
const SUBSCRIBE: &[u8] = b"\x82\x11\x00\x01\x00\x00\x0bevents/up/#\x01";
const BUFFER: usize = 256 << 10;
/// Where events are many, the signature of one of so many is checked.
const CHECKED: usize = 100;

/// What came so far.
#[derive(Debug, Default)]
struct Came {
    payloads: Vec<Vec<u8>>,
    last: Option<Instant>,
    broken: Option<String>,
}

#[derive(Debug)]
pub(super) struct Subscriber {
    came: Arc<Mutex<Came>>,
    keys: TrustedKeys,
}

/// Events by name.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) names: HashMap<String, u32>,
    /// When the last one came.
    pub(super) last: Option<Instant>,
}

impl Subscriber {
    pub(super) fn connect(broker: SocketAddr, keys: TrustedKeys) -> Result<Self> {
        let mut stream = TcpStream::connect(broker).context("connecting to the broker")?;
        stream.set_nodelay(true).context("setting up a connection")?;
        stream.write_all(CONNECT).context("greeting the broker")?;
        packet(&mut stream, 0x20)?;
        stream.write_all(SUBSCRIBE).context("subscribing")?;
        packet(&mut stream, 0x90)?;
        let came = Arc::new(Mutex::new(Came::default()));
        let shared = Arc::clone(&came);
        thread::spawn(move || {
            if let Err(error) = take(&mut stream, &shared) {
                lock(&shared).broken = Some(format!("{error:#}"));
            }
        });
        Ok(Self { came, keys })
    }

    /// How many events came since they were last taken out.
    pub(super) fn count(&self) -> Result<usize> {
        let came = lock(&self.came);
        match &came.broken {
            Some(error) => bail!("the subscriber: {error}"),
            None => Ok(came.payloads.len()),
        }
    }

    /// Takes out what came; signatures are checked, all of them where they are few.
    pub(super) fn take_out(&self) -> Result<Events> {
        let (all, last) = self.take()?;
        let mut names = HashMap::with_capacity(all.len());
        for name in all {
            *names.entry(name).or_insert(0) += 1;
        }
        Ok(Events { names, last })
    }

    /// Takes out the names of what came, in the order in which it came.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        self.count()?;
        Ok(self.take()?.0)
    }

    fn take(&self) -> Result<(Vec<String>, Option<Instant>)> {
        let Came { payloads, last, .. } = std::mem::take(&mut *lock(&self.came));
        let step = if payloads.len() > 10 * CHECKED { CHECKED } else { 1 };
        let mut names = Vec::with_capacity(payloads.len());
        for (number, payload) in payloads.iter().enumerate() {
            let event = if number.is_multiple_of(step) {
                jws::verify(payload, &self.keys).context("checking an event")?
            } else {
                unchecked(payload).context("an event that is no JWS")?
            };
            let event: Value = serde_json::from_slice(&event).context("reading an event")?;
            let name = event.get("qname").and_then(Value::as_str).context("an event without a name")?;
            names.push(name.to_owned());
        }
        Ok((names, last))
    }
}

fn lock(came: &Mutex<Came>) -> std::sync::MutexGuard<'_, Came> {
    came.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is signed, signature aside.
fn unchecked(payload: &[u8]) -> Option<Vec<u8>> {
    let parts: Value = serde_json::from_slice(payload).ok()?;
    URL_SAFE_NO_PAD.decode(parts.get("payload")?.as_str()?).ok()
}

/// One whole packet of this kind, before anything else flows.
fn packet(stream: &mut TcpStream, kind: u8) -> Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).context("waiting for the broker")?;
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).context("waiting for the broker")?;
    // The reason: of CONNACK the second octet, of SUBACK the last.
    let reason = if kind == 0x20 { rest.get(1) } else { rest.last() };
    if head[0] != kind || reason.is_none_or(|reason| *reason >= 0x80) {
        bail!("the broker answers {head:?} {rest:?}");
    }
    Ok(())
}

fn take(stream: &mut TcpStream, came: &Mutex<Came>) -> Result<()> {
    let (mut buffer, mut held, mut answer) = (vec![0; BUFFER], 0, Vec::new());
    loop {
        let read = stream.read(buffer.get_mut(held..).unwrap_or_default()).context("reading")?;
        if read == 0 {
            bail!("the broker is gone");
        }
        held += read;
        let (mut at, mut payloads) = (0, Vec::new());
        while let Some((first, body, end)) = next(&buffer, at, held) {
            if first >> 4 == 3 {
                let (payload, identifier) = publish(first, body).context("strange PUBLISH")?;
                payloads.push(payload.to_vec());
                answer.extend(identifier.into_iter().flat_map(|[high, low]| [0x40, 2, high, low]));
            }
            at = end;
        }
        if at == 0 && held == buffer.len() {
            bail!("a packet of more than {BUFFER} octets");
        }
        buffer.copy_within(at..held, 0);
        held -= at;
        if !payloads.is_empty() {
            let mut came = lock(came);
            came.payloads.append(&mut payloads);
            came.last = Some(Instant::now());
        }
        stream.write_all(&answer).context("acknowledging")?;
        answer.clear();
    }
}

/// First octet, what follows the length, and where the packet ends; none if it is not all there.
fn next(buffer: &[u8], at: usize, held: usize) -> Option<(u8, &[u8], usize)> {
    let (first, rest) = buffer.get(at..held)?.split_first()?;
    let (mut length, mut digits) = (0, 0);
    loop {
        let digit = *rest.get(digits)?;
        length |= usize::from(digit & 0x7f) << (7 * digits);
        digits += 1;
        if digit & 0x80 == 0 || digits == 4 {
            break;
        }
    }
    let body = rest.get(digits..digits + length)?;
    Some((*first, body, at + 1 + digits + length))
}

/// Payload, and the identifier where one is to be acknowledged. Properties are shorter than 128 octets here.
fn publish(first: u8, body: &[u8]) -> Option<(&[u8], Option<[u8; 2]>)> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let mut rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    let mut identifier = None;
    if first & 6 != 0 {
        let (found, behind) = rest.split_first_chunk::<2>()?;
        (identifier, rest) = (Some(*found), behind);
    }
    let (properties, rest) = rest.split_first()?;
    Some((rest.get(usize::from(*properties)..)?, identifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_mqtt() {
        assert_eq!(usize::from(CONNECT[1]), CONNECT.len() - 2);
        assert_eq!(usize::from(SUBSCRIBE[1]), SUBSCRIBE.len() - 2);
        let body = b"\0\x01t\x12\x34\0payload";
        let mut octets = vec![0x32, body.len() as u8];
        octets.extend_from_slice(body);
        for end in 0..octets.len() {
            assert!(next(&octets, 0, end).is_none());
        }
        let (first, body, end) = next(&octets, 0, octets.len()).unwrap();
        assert_eq!((publish(first, body).unwrap(), end), ((b"payload".as_slice(), Some([0x12, 0x34])), octets.len()));
        assert_eq!(publish(0x30, b"\0\x01t\x02xxp").unwrap(), (b"p".as_slice(), None));
    }
}
