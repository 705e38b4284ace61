//! Core, as far as a broker sees it: observations that were signed before, published with QoS 0 over a plain connection (MQTT 5).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::json;
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;

const TOPIC: &[u8] = b"observations/down/tapir-pop";
/// Longer than any run takes.
const TTL: u32 = 86_400;
/// CONNECT: clean start, no keep-alive, no properties, client "core" (MQTT 5 section 3.1).
const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04core";
/// Between two writes.
const TICK: Duration = Duration::from_millis(1);

/// A message as it goes to the broker, header included.
pub(super) type Packet = Vec<u8>;

/// One message with these names and their tags.
pub(super) fn packet(key: &DataKey, names: &[(String, u32)]) -> Packet {
    let now = Timestamp::now().to_string();
    let entry = |(name, tags): &(String, u32)| json!({"name": name, "time_added": now, "ttl": TTL, "tag_mask": tags, "extended_tags": []});
    let added: Vec<_> = names.iter().map(entry).collect();
    let payload = json!({
        "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
        "added": added, "removed": [], "msg": "", "timestamp": now, "time_str": "",
    });
    publish(jws::sign_flattened(payload.to_string().as_bytes(), key).as_bytes())
}

/// A message for each name.
pub(super) fn packets(key: &DataKey, names: &[(String, u32)]) -> Vec<Packet> {
    let sign = |names: &[(String, u32)]| names.iter().map(|name| packet(key, std::slice::from_ref(name))).collect::<Vec<_>>();
    let (one, other) = names.split_at(names.len() / 2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| sign(one));
        let second = sign(other);
        let mut all = first.join().unwrap_or_default();
        all.extend(second);
        all
    })
}

/// PUBLISH with QoS 0 and no properties (MQTT 5 section 3.3).
fn publish(payload: &[u8]) -> Packet {
    let mut length = 2 + TOPIC.len() + 1 + payload.len();
    let mut packet = vec![0x30];
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        if length == 0 {
            packet.push(low);
            break;
        }
        packet.push(low | 0x80);
    }
    packet.extend_from_slice(&[0, TOPIC.len() as u8]);
    packet.extend_from_slice(TOPIC);
    packet.push(0);
    packet.extend_from_slice(payload);
    packet
}

/// A connection to the broker.
#[derive(Debug)]
pub(super) struct Sender(TcpStream);

impl Sender {
    pub(super) fn connect(broker: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(broker).context("connecting to the broker")?;
        stream.set_nodelay(true).context("setting up a connection")?;
        stream.write_all(CONNECT).context("greeting the broker")?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).context("waiting for the broker's greeting")?;
        let mut rest = vec![0; usize::from(answer[1])];
        stream.read_exact(&mut rest).context("waiting for the broker's greeting")?;
        if answer[0] != 0x20 || rest.get(1) != Some(&0) {
            bail!("the broker does not want us: {rest:?}");
        }
        Ok(Self(stream))
    }

    pub(super) fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.0.write_all(packet).context("publishing")
    }

    /// So many a second, as long as that is wanted; how many went out.
    pub(super) fn pace(&mut self, packets: &[Packet], rate: f64, goes_on: impl Fn() -> bool) -> Result<usize> {
        let (began, mut sent) = (Instant::now(), 0);
        while sent < packets.len() && goes_on() {
            let due = ((began.elapsed().as_secs_f64() * rate) as usize).min(packets.len());
            if let Some(next) = packets.get(sent..due).filter(|next| !next.is_empty()) {
                self.send(&next.concat())?;
                sent = due;
            }
            std::thread::sleep(TICK);
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_mqtt() {
        assert_eq!(usize::from(CONNECT[1]), CONNECT.len() - 2);
        let small = publish(b"x");
        assert_eq!(small[..4], [0x30, 31, 0, 27]);
        assert_eq!(small.len(), 33);
        let large = publish(&[0; 300]);
        assert_eq!(large[1..3], [0x80 | (330 % 128) as u8, 2]);
        assert_eq!(large.len(), 3 + 330);
    }
}
