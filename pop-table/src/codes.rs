//! What is known of a name, in four octets.

use crate::value::{Value, Written};

/// What happens to a name, or in a list: that it is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// Nothing is said.
    pub const SILENT: Self = Self(0);
    /// In a list: this name is in it.
    pub const LISTED: Self = Self(1);
    /// rpz-passthru.
    pub const PASSTHRU: Self = Self(1);
    /// rpz-tcp-only.
    pub const TCP_ONLY: Self = Self(2);
    /// No such data.
    pub const NODATA: Self = Self(3);
    /// No such name.
    pub const NXDOMAIN: Self = Self(4);
    /// No answer.
    pub const DROP: Self = Self(5);
    /// Smallest code that means local data.
    const FIRST_SET: u16 = 16;
    /// Largest code that can be written.
    const LAST: u16 = 240 + 0x0fff;

    /// Local data: the set with this index in the palette.
    #[must_use]
    pub const fn set(index: u16) -> Option<Self> {
        if index < crate::palette::MAX_SETS { Some(Self(Self::FIRST_SET + index)) } else { None }
    }

    /// Index in the palette, if it means local data.
    #[inline]
    #[must_use]
    pub const fn set_index(self) -> Option<u16> {
        self.0.checked_sub(Self::FIRST_SET)
    }

    /// The number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The code with this number, if there can be one.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        if number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// Whether nothing is said.
    #[inline]
    #[must_use]
    pub const fn is_silent(self) -> bool {
        self.0 == 0
    }

    /// One octet below 240; larger ones in two.
    fn write(self, to: &mut Written) {
        match u8::try_from(self.0) {
            Ok(small) if small < 240 => to.push(&[small]),
            _ => {
                let [high, low] = (self.0 - 240).to_be_bytes();
                to.push(&[240 | high, low]);
            }
        }
    }

    #[inline]
    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        let first = *from.get(*at)?;
        *at += 1;
        if first < 240 {
            return Some(Self(u16::from(first)));
        }
        let second = *from.get(*at)?;
        *at += 1;
        Some(Self(240 + u16::from_be_bytes([first & 15, second])))
    }
}

/// What happens to a name, and to what is below it and not listed itself (`*.name`). Both silent: nothing, or in an overlay that
/// what lies under it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codes {
    /// The name.
    pub own: Code,
    /// What is below it.
    pub below: Code,
}

impl Codes {
    /// Nothing is said, or no longer.
    pub const SILENT: Self = Self { own: Code::SILENT, below: Code::SILENT };
    /// A listed name.
    pub const LISTED: Self = Self { own: Code::LISTED, below: Code::SILENT };

    /// Both.
    #[must_use]
    pub const fn new(own: Code, below: Code) -> Self {
        Self { own, below }
    }
}

impl Value for Codes {
    const KIND: u8 = 1;
    const ALWAYS_INLINE: bool = false;

    fn write(&self, to: &mut Written) {
        self.own.write(to);
        self.below.write(to);
    }

    #[inline]
    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        let own = Code::read(from, at)?;
        Some(Self { own, below: Code::read(from, at)? })
    }

    #[inline]
    fn is_absent(&self) -> bool {
        *self == Self::SILENT
    }

    fn records(&self) -> u64 {
        u64::from(!self.own.is_silent()) + u64::from(!self.below.is_silent())
    }
}
