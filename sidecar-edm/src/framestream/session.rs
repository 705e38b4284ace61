//! The receiver's side of a session: READY -> ACCEPT, START, data, STOP -> FINISH.

use bytes::Bytes;

use super::control::{CONTENT_TYPE, Control, ControlError, ControlType};
use super::decoder::{Decoder, Frame, FrameError};

/// What the owner of the connection has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these octets and go on.
    Reply(Vec<u8>),
    /// The data phase began: no time limit from here on.
    Started,
    /// A data frame.
    Data(Bytes),
    /// Send these octets and close.
    Finish(Vec<u8>),
}

/// Why the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The stream cannot be split into frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A control frame cannot be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Not the frame that the handshake has here; also senders without READY (unidirectional).
    #[error("shaking hands: unexpected frame")]
    UnexpectedFrame,
    /// READY or START speak of something else than dnstap.
    #[error("shaking hands: content type is not dnstap")]
    ContentType,
}

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for READY.
    Ready,
    /// Waiting for START. `typed`: READY named content types.
    Start {
        /// READY named content types, dnstap among them.
        typed: bool,
    },
    /// Data flows.
    Data,
    /// STOP came.
    Finished,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    phase: Phase,
}

impl Default for Session {
    fn default() -> Self {
        Self { decoder: Decoder::default(), phase: Phase::Ready }
    }
}

impl Session {
    /// Takes what was read.
    pub fn push(&mut self, octets: &[u8]) {
        self.decoder.push(octets);
    }

    /// Where the session stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The stream may end here without anything being lost.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.decoder.at_boundary()
    }

    /// The next thing to do, or `None` if more octets are needed.
    pub fn next_action(&mut self) -> Result<Option<Action>, SessionError> {
        while self.phase != Phase::Finished {
            let Some(frame) = self.decoder.next_frame()? else { return Ok(None) };
            if let Some(action) = self.advance(frame)? {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    fn advance(&mut self, frame: Frame) -> Result<Option<Action>, SessionError> {
        match (self.phase, frame) {
            (Phase::Data, Frame::Data(payload)) => Ok(Some(Action::Data(payload))),
            (_, Frame::Data(_)) => Err(SessionError::UnexpectedFrame),
            (phase, Frame::Control(payload)) => self.control(phase, &Control::parse(payload)?),
        }
    }

    fn control(&mut self, phase: Phase, control: &Control) -> Result<Option<Action>, SessionError> {
        match (phase, control.control_type) {
            (Phase::Ready, ControlType::Ready) => {
                let typed = !control.content_types.is_empty();
                if typed && !control.offers_dnstap() {
                    return Err(SessionError::ContentType);
                }
                self.phase = Phase::Start { typed };
                let content_types = if typed { vec![Bytes::from_static(CONTENT_TYPE)] } else { Vec::new() };
                Ok(Some(Action::Reply(Control { control_type: ControlType::Accept, content_types }.to_frame())))
            }
            (Phase::Start { typed }, ControlType::Start) => {
                // START is checked against the union of both frames' types, so after a READY that named dnstap every START
                // passes; after a READY that named nothing, START must not name anything.
                if !typed && !control.content_types.is_empty() {
                    return Err(SessionError::ContentType);
                }
                self.phase = Phase::Data;
                Ok(Some(Action::Started))
            }
            (Phase::Data, ControlType::Stop) => {
                self.phase = Phase::Finished;
                let finish = Control { control_type: ControlType::Finish, content_types: Vec::new() };
                Ok(Some(Action::Finish(finish.to_frame())))
            }
            (Phase::Data, _) => Ok(None),
            _ => Err(SessionError::UnexpectedFrame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn run(stream: &[u8]) -> (Vec<Action>, Option<SessionError>) {
        let mut session = Session::default();
        session.push(stream);
        let mut actions = Vec::new();
        loop {
            match session.next_action() {
                Ok(Some(action)) => actions.push(action),
                Ok(None) => return (actions, None),
                Err(error) => return (actions, Some(error)),
            }
        }
    }

    fn frame(control_type: ControlType, content_types: &[&'static [u8]]) -> Vec<u8> {
        let content_types = content_types.iter().map(|name| Bytes::from_static(name)).collect();
        Control { control_type, content_types }.to_frame()
    }

    #[test]
    fn recorded_session() {
        let vector = vectors::load("framestream.json");
        let octets = |name: &str| vectors::octets(&vector[name]);
        assert_eq!(vector["content_type"].as_str().unwrap().as_bytes(), CONTENT_TYPE);
        let (actions, error) = run(&octets("client_session_hex"));
        assert_eq!(error, None);
        assert_eq!(actions[0], Action::Reply(octets("server_accept_hex")));
        assert_eq!(actions[1], Action::Started);
        assert!(matches!(actions[2], Action::Data(ref frame) if frame.len() == 0x58));
        assert!(matches!(actions[3], Action::Data(ref frame) if frame.len() == 0x73));
        assert_eq!(actions[4], Action::Finish(octets("server_finish_hex")));
        assert_eq!(actions.len(), 5);

        assert_eq!(frame(ControlType::Ready, &[CONTENT_TYPE]), octets("client_ready_hex"));
        assert_eq!(frame(ControlType::Start, &[CONTENT_TYPE]), octets("client_start_hex"));
        assert_eq!(frame(ControlType::Stop, &[]), octets("client_stop_hex"));
    }

    #[test]
    fn content_types_of_ready_and_start() {
        use ControlType::{Ready, Start};
        let check = |ready: &[&'static [u8]], start: &[&'static [u8]], expected: Option<SessionError>| {
            let stream = [frame(Ready, ready), frame(Start, start)].concat();
            assert_eq!(run(&stream).1, expected, "{ready:?} {start:?}");
        };
        check(&[b"other", CONTENT_TYPE], &[CONTENT_TYPE], None);
        check(&[CONTENT_TYPE], &[], None);
        check(&[], &[], None);
        check(&[], &[CONTENT_TYPE], Some(SessionError::ContentType));
        check(&[b"other"], &[CONTENT_TYPE], Some(SessionError::ContentType));

        let (actions, _) = run(&frame(Ready, &[]));
        assert_eq!(actions, [Action::Reply(frame(ControlType::Accept, &[]))]);
    }

    #[test]
    fn refuses_what_does_not_begin_with_ready() {
        for first in [frame(ControlType::Start, &[CONTENT_TYPE]), frame(ControlType::Stop, &[]), vec![0, 0, 0, 1, 9]] {
            assert_eq!(run(&first).1, Some(SessionError::UnexpectedFrame));
        }
    }

    #[test]
    fn ignores_other_control_frames_while_data_flows() {
        let stream = [
            frame(ControlType::Ready, &[CONTENT_TYPE]),
            frame(ControlType::Start, &[CONTENT_TYPE]),
            frame(ControlType::Ready, &[]),
            frame(ControlType::Other(77), &[]),
            vec![0, 0, 0, 1, 9],
        ]
        .concat();
        let (actions, error) = run(&stream);
        assert_eq!(error, None);
        assert_eq!(actions.last(), Some(&Action::Data(Bytes::from_static(&[9]))));
    }
}
