//! All that a dnstap frame says, for those who look for a fault: queries too, and whatever its type.

use super::Time;
use super::protobuf::{Fields, Malformed, fixed32, octets, varint};

/// The members of a frame. What is not there is none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Frame<'a> {
    pub(crate) identity: Option<&'a [u8]>,
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) message_type: i32,
    pub(crate) family: Option<i32>,
    pub(crate) protocol: Option<i32>,
    pub(crate) query_address: Option<&'a [u8]>,
    pub(crate) response_address: Option<&'a [u8]>,
    pub(crate) query_port: Option<u32>,
    pub(crate) response_port: Option<u32>,
    pub(crate) query_time: Option<Time>,
    pub(crate) query: Option<&'a [u8]>,
    pub(crate) query_zone: Option<&'a [u8]>,
    pub(crate) response_time: Option<Time>,
    pub(crate) response: Option<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// None where it is no dnstap, or has no message.
    pub(crate) fn read(frame: &'a [u8]) -> Option<Self> {
        let (mut read, mut inner) = (Self::default(), None);
        let mut fields = Fields::new(frame);
        while let Some(tag) = fields.tag().ok()? {
            if tag == octets(1) {
                read.identity = Some(fields.octets().ok()?);
            } else if tag == octets(2) {
                read.version = Some(fields.octets().ok()?);
            } else if tag == octets(14) {
                inner = Some(fields.octets().ok()?);
            } else {
                fields.skip(tag).ok()?;
            }
        }
        read.message(inner?).ok()?;
        Some(read)
    }

    fn message(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        // Seconds and nanoseconds of query and response.
        let (mut seconds, mut nanoseconds) = ([None; 2], [0; 2]);
        while let Some(tag) = fields.tag()? {
            match tag {
                _ if tag == varint(1) => self.message_type = fields.varint()? as i32,
                _ if tag == varint(2) => self.family = Some(fields.varint()? as i32),
                _ if tag == varint(3) => self.protocol = Some(fields.varint()? as i32),
                _ if tag == octets(4) => self.query_address = Some(fields.octets()?),
                _ if tag == octets(5) => self.response_address = Some(fields.octets()?),
                _ if tag == varint(6) => self.query_port = Some(fields.varint()? as u32),
                _ if tag == varint(7) => self.response_port = Some(fields.varint()? as u32),
                _ if tag == varint(8) => seconds[0] = Some(fields.varint()?),
                _ if tag == fixed32(9) => nanoseconds[0] = fields.fixed32()?,
                _ if tag == octets(10) => self.query = Some(fields.octets()?),
                _ if tag == octets(11) => self.query_zone = Some(fields.octets()?),
                _ if tag == varint(12) => seconds[1] = Some(fields.varint()?),
                _ if tag == fixed32(13) => nanoseconds[1] = fields.fixed32()?,
                _ if tag == octets(14) => self.response = Some(fields.octets()?),
                _ => fields.skip(tag)?,
            }
        }
        let time = |seconds: Option<u64>, nanoseconds| {
            seconds.and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| Time { seconds, nanoseconds })
        };
        self.query_time = time(seconds[0], nanoseconds[0]);
        self.response_time = time(seconds[1], nanoseconds[1]);
        Ok(())
    }
}
