//! Control frames: type, then fields; the only field is the content type.

use bytes::Bytes;

/// Content type of dnstap.
pub const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// Longest control payload, as in the reference implementation.
pub const MAX_CONTROL_LENGTH: usize = 512;
/// The type alone.
pub(super) const MIN_CONTROL_LENGTH: usize = 4;
const FIELD_CONTENT_TYPE: u32 = 1;
/// Field type and field length.
const FIELD_HEADER: usize = 8;

/// Type of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// Receiver accepts the session.
    Accept,
    /// Sender begins to send data.
    Start,
    /// Sender ends.
    Stop,
    /// Sender offers content types.
    Ready,
    /// Receiver confirms the end.
    Finish,
    /// Not in the protocol.
    Other(u32),
}

impl ControlType {
    const fn number(self) -> u32 {
        match self {
            Self::Accept => 1,
            Self::Start => 2,
            Self::Stop => 3,
            Self::Ready => 4,
            Self::Finish => 5,
            Self::Other(number) => number,
        }
    }
}

impl From<u32> for ControlType {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Accept,
            2 => Self::Start,
            3 => Self::Stop,
            4 => Self::Ready,
            5 => Self::Finish,
            other => Self::Other(other),
        }
    }
}

/// Why a control frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Shorter than its own type, or octets left over that make no field.
    #[error("reading a control frame: cut or left-over octets")]
    Incomplete,
    /// A field that is not a content type.
    #[error("reading a control frame: unknown field type {0}")]
    UnknownField(u32),
}

/// A control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its type.
    pub control_type: ControlType,
    /// Content types in order.
    pub content_types: Vec<Bytes>,
}

impl Control {
    /// Reads the payload of a control frame.
    ///
    /// A field header that ends the payload is an error even with length zero: the reference implementation wants at least
    /// one octet after it.
    pub fn parse(mut payload: Bytes) -> Result<Self, ControlError> {
        let control_type = take_u32(&mut payload).ok_or(ControlError::Incomplete)?.into();
        let mut content_types = Vec::new();
        while payload.len() > FIELD_HEADER {
            let field = take_u32(&mut payload).ok_or(ControlError::Incomplete)?;
            let length = take_u32(&mut payload).ok_or(ControlError::Incomplete)? as usize;
            if field != FIELD_CONTENT_TYPE {
                return Err(ControlError::UnknownField(field));
            }
            if length > payload.len() {
                return Err(ControlError::Incomplete);
            }
            content_types.push(payload.split_to(length));
        }
        if payload.is_empty() { Ok(Self { control_type, content_types }) } else { Err(ControlError::Incomplete) }
    }

    /// The whole frame, escape included, as it goes on the wire.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut payload = self.control_type.number().to_be_bytes().to_vec();
        for content_type in &self.content_types {
            payload.extend_from_slice(&FIELD_CONTENT_TYPE.to_be_bytes());
            payload.extend_from_slice(&length_field(content_type.len()));
            payload.extend_from_slice(content_type);
        }
        let mut frame = vec![0; 4];
        frame.extend_from_slice(&length_field(payload.len()));
        frame.extend_from_slice(&payload);
        frame
    }

    pub(super) fn offers_dnstap(&self) -> bool {
        self.content_types.iter().any(|content_type| content_type == CONTENT_TYPE)
    }
}

fn length_field(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn take_u32(payload: &mut Bytes) -> Option<u32> {
    let octets = payload.first_chunk::<4>().copied()?;
    let _ = payload.split_to(4);
    Some(u32::from_be_bytes(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(octets: &[u8]) -> Result<Control, ControlError> {
        Control::parse(Bytes::copy_from_slice(octets))
    }

    #[test]
    fn a_field_needs_an_octet_of_value_at_the_end() {
        let mut ready = 4u32.to_be_bytes().to_vec();
        ready.extend_from_slice(&1u32.to_be_bytes());
        ready.extend_from_slice(&0u32.to_be_bytes());
        assert_eq!(parse(&ready), Err(ControlError::Incomplete));
    }

    #[test]
    fn refuses_unknown_fields_and_left_over_octets() {
        let mut other_field = 4u32.to_be_bytes().to_vec();
        other_field.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 1, b'x']);
        assert_eq!(parse(&other_field), Err(ControlError::UnknownField(2)));
        assert_eq!(parse(&[0, 0, 0, 4, 0]), Err(ControlError::Incomplete));
        assert_eq!(parse(&[0, 0, 0]), Err(ControlError::Incomplete));
        assert_eq!(parse(&[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 9, b'x']), Err(ControlError::Incomplete));
    }

    #[test]
    fn reads_several_content_types() {
        let control = Control {
            control_type: ControlType::Ready,
            content_types: vec![Bytes::from_static(b"other"), Bytes::from_static(CONTENT_TYPE)],
        };
        let frame = control.to_frame();
        assert_eq!(parse(&frame[8..]), Ok(control));
    }
}
