//! Another subscriber of the broker's, that does nothing: when a message comes to it, the broker and the machine have done their part.

use std::io::{BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// CONNECT: clean start, no keep-alive, no properties, client "witn" (MQTT 5 section 3.1).
const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04witn";
/// SUBSCRIBE to what the sender publishes, QoS 0 (MQTT 5 section 3.8).
const SUBSCRIBE: &[u8] = b"\x82\x21\x00\x01\x00\x00\x1bobservations/down/tapir-pop\x00";
/// Types of packets (MQTT 5 section 2.1.2).
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;

/// When messages came to it.
#[derive(Debug)]
pub(super) struct Witness(Receiver<Instant>);

impl Witness {
    /// Listens until it is dropped and the next message comes.
    pub(super) fn start(broker: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(broker).context("connecting to the broker")?;
        let mut packets = BufReader::new(stream.try_clone().context("setting up a connection")?);
        stream.write_all(CONNECT).context("greeting the broker")?;
        expect(&mut packets, CONNACK)?;
        stream.write_all(SUBSCRIBE).context("subscribing")?;
        expect(&mut packets, SUBACK)?;
        let (tell, came) = channel();
        std::thread::spawn(move || {
            while let Ok(packet) = packet(&mut packets) {
                if packet == PUBLISH && tell.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        Ok(Self(came))
    }

    /// When the next message came that nobody asked for yet.
    pub(super) fn next(&self, within: Duration) -> Result<Instant> {
        self.0.recv_timeout(within).context("the broker does not pass messages on")
    }

    /// What came so far is of no interest.
    pub(super) fn drain(&self) {
        while self.0.try_recv().is_ok() {}
    }
}

fn expect(packets: &mut impl Read, expected: u8) -> Result<()> {
    let came = packet(packets)?;
    if came != expected {
        bail!("the broker sends a packet of type {came}, {expected} should have come");
    }
    Ok(())
}

/// Reads one packet; its type.
fn packet(packets: &mut impl Read) -> Result<u8> {
    let mut octet = [0];
    let mut next = || packets.read_exact(&mut octet).map(|()| octet[0]).context("reading from the broker");
    let kind = next()? >> 4;
    let (mut length, mut shift) = (0u64, 0);
    loop {
        let part = next()?;
        length |= u64::from(part & 0x7f) << shift;
        shift += 7;
        if part & 0x80 == 0 {
            break;
        }
        if shift > 21 {
            bail!("the broker sends a packet without end");
        }
    }
    std::io::copy(&mut packets.by_ref().take(length), &mut std::io::sink()).context("reading from the broker")?;
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_one_by_one() {
        let mut octets = vec![0x30, 0x80, 0x01];
        octets.extend([0; 128]);
        octets.extend([0x90, 1, 0]);
        let mut octets = octets.as_slice();
        assert_eq!(packet(&mut octets).unwrap(), PUBLISH);
        assert_eq!(packet(&mut octets).unwrap(), SUBACK);
        assert!(packet(&mut octets).is_err());
        for own in [CONNECT, SUBSCRIBE] {
            assert_eq!(usize::from(own[1]), own.len() - 2);
        }
    }
}
