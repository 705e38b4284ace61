//! What one source says of one name.

use tapir_table::{Code, Codes, Value, Written};

use super::LocalIndex;
use crate::policy::Action;

/// What one source says of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing: an observation that was taken back.
    #[default]
    Nothing,
    /// In a list: that it is listed. In a feed: what the records of the name and of `*.name` ask for.
    Listed(Codes),
    /// Observed, with these tags.
    Observed(u32),
}

/// Kinds as they are written.
const LISTED: u8 = 1;
const OBSERVED: u8 = 2;

impl Value for Known {
    const KIND: u8 = 2;
    const ALWAYS_INLINE: bool = false;

    fn write(&self, to: &mut Written) {
        match self {
            Self::Nothing => to.push(&[0]),
            Self::Listed(codes) => {
                to.push(&[LISTED]);
                codes.write(to);
            }
            Self::Observed(tags) => {
                to.push(&[OBSERVED]);
                to.push(&tags.to_be_bytes());
            }
        }
    }

    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        let kind = *from.get(*at)?;
        *at += 1;
        match kind {
            0 => Some(Self::Nothing),
            LISTED => Codes::read(from, at).map(Self::Listed),
            OBSERVED => {
                let octets = from.get(*at..)?.first_chunk()?;
                *at += 4;
                Some(Self::Observed(u32::from_be_bytes(*octets)))
            }
            _ => None,
        }
    }

    fn is_absent(&self) -> bool {
        *self == Self::Nothing
    }
}

/// The code of an action. There are more codes for local data than the palette has places.
#[must_use]
pub fn code(action: Action) -> Code {
    match action {
        Action::Passthru => Code::PASSTHRU,
        Action::TcpOnly => Code::TCP_ONLY,
        Action::Nodata => Code::NODATA,
        Action::Nxdomain => Code::NXDOMAIN,
        Action::Drop => Code::DROP,
        // An action that blocks says the least that is wrong.
        Action::Local(LocalIndex(index)) => Code::set(index).unwrap_or(Code::NXDOMAIN),
    }
}

/// The action of a code; `None`: nothing is said.
#[must_use]
pub fn action(code: Code) -> Option<Action> {
    Some(match code {
        Code::SILENT => return None,
        Code::PASSTHRU => Action::Passthru,
        Code::TCP_ONLY => Action::TcpOnly,
        Code::NODATA => Action::Nodata,
        Code::DROP => Action::Drop,
        // Numbers without a meaning so far are of a later version, whose blocks stay blocks.
        _ => code.set_index().map_or(Action::Nxdomain, |index| Action::Local(LocalIndex(index))),
    })
}
