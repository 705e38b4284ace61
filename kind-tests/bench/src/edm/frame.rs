//! One frame as unbound writes it: dnstap (protobuf) around a client's answer, octet by octet, so that no encoder of the product is in it.

/// What a frame tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    /// On the wire, with the root's zero.
    pub(super) name: &'a [u8],
    /// Octets of its address.
    pub(super) client: &'a [u8],
    pub(super) port: u16,
    pub(super) qtype: u16,
    pub(super) rcode: u8,
    /// Seconds since 1970.
    pub(super) time: u32,
}

/// Room that is used for frame after frame.
#[derive(Debug, Default)]
pub(super) struct Writer {
    message: Vec<u8>,
    inner: Vec<u8>,
}

const SERVER_AND_PROGRAM: &[u8] = b"\x0a\x0aresolver-1\x12\x0eunbound 1.22.0";

impl Writer {
    /// Appends the frame, its length in front.
    pub(super) fn write(&mut self, told: &Told<'_>, stream: &mut Vec<u8>) {
        self.message(told);
        self.inner(told);
        let start = stream.len();
        stream.extend_from_slice(&[0; 4]);
        stream.extend_from_slice(SERVER_AND_PROGRAM);
        stream.push(0x72);
        field(&self.inner, stream);
        stream.extend_from_slice(&[0x78, 1]);
        let length = (stream.len() - start - 4) as u32;
        if let Some(slot) = stream.get_mut(start..start + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// An answer with a record or two if it went well, and EDNS.
    fn message(&mut self, told: &Told<'_>) {
        let message = &mut self.message;
        message.clear();
        let records = if told.rcode == 0 { 1 + (told.port & 1) as u8 } else { 0 };
        message.extend_from_slice(&told.port.to_be_bytes());
        message.extend_from_slice(&[0x81, 0x80 | told.rcode, 0, 1, 0, records, 0, 0, 0, 1]);
        message.extend_from_slice(told.name);
        message.extend_from_slice(&told.qtype.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        for record in 0..records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&told.qtype.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
            match told.qtype {
                28 => message.extend_from_slice(&[0, 16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, record]),
                1 => message.extend_from_slice(&[0, 4, 192, 0, 2, record]),
                // A priority or a preference, and the root.
                15 | 65 => message.extend_from_slice(&[0, 3, 0, 1, 0]),
                _ => message.extend_from_slice(b"\0\x04\x03abc"),
            }
        }
        message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }

    /// Type, families, addresses, ports, times, message.
    fn inner(&mut self, told: &Told<'_>) {
        let inner = &mut self.inner;
        inner.clear();
        inner.extend_from_slice(&[0x08, 6, 0x10, if told.client.len() == 4 { 1 } else { 2 }, 0x18, 1, 0x22]);
        field(told.client, inner);
        inner.push(0x30);
        number(u32::from(told.port), inner);
        inner.extend_from_slice(&[0x38, 53, 0x60]);
        number(told.time, inner);
        inner.push(0x6d);
        inner.extend_from_slice(&(u32::from(told.port) * 15_000).to_le_bytes());
        inner.push(0x72);
        field(&self.message, inner);
    }
}

/// Length and octets.
fn field(octets: &[u8], into: &mut Vec<u8>) {
    number(octets.len() as u32, into);
    into.extend_from_slice(octets);
}

fn number(mut value: u32, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;

    use super::*;

    #[test]
    fn a_frame_has_its_length_and_a_message_that_others_can_read() {
        for (qtype, rcode) in [(1, 0), (28, 0), (65, 0), (15, 0), (16, 0), (1, 3)] {
            let told =
                Told { name: b"\x03www\x07example\0", client: &[192, 0, 2, 7], port: 40_001, qtype, rcode, time: 1_790_000_000 };
            let (mut writer, mut stream) = (Writer::default(), Vec::new());
            writer.write(&told, &mut stream);
            writer.write(&told, &mut stream);
            let half = stream.len() / 2;
            assert_eq!(stream[..half], stream[half..]);
            assert_eq!(u32::from_be_bytes(*stream.first_chunk().unwrap()) as usize, half - 4);
            let message = Message::from_vec(&writer.message).unwrap();
            assert_eq!(message.queries[0].name().to_ascii(), "www.example.");
            assert_eq!(message.answers.len(), if rcode == 0 { 2 } else { 0 });
        }
    }
}
