//! What happens to a name.

use std::fmt::{self, Display};

use crate::zone::LocalIndex;

/// What happens to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Answered as usual.
    Passthru,
    /// Answered over TCP only.
    TcpOnly,
    /// Answered with data of the policy's own.
    Local(LocalIndex),
    /// The name exists, the type does not.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// No answer at all.
    Drop,
}

impl Action {
    /// How much it restricts; all redirects are alike.
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            Self::Passthru => 0,
            Self::TcpOnly => 1,
            Self::Local(_) => 2,
            Self::Nodata => 3,
            Self::Nxdomain => 4,
            Self::Drop => 5,
        }
    }

    /// The more restrictive of the two; of equal ones this.
    #[must_use]
    pub const fn or_stricter(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }
}

/// As `pop.yaml` spells it.
impl Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passthru => "PASSTHRU",
            Self::TcpOnly => "TCP-ONLY",
            Self::Local(_) => "Redirect",
            Self::Nodata => "NODATA",
            Self::Nxdomain => "NXDOMAIN",
            Self::Drop => "DROP",
        })
    }
}
