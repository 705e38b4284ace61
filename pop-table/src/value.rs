//! What stands behind a key.

/// Longest value in octets as written.
pub const MAX_VALUE: usize = 32;

/// Something that stands behind a key in files and trees. Written in at most [`MAX_VALUE`] octets, whose number follows from
/// themselves.
pub trait Value: Copy + Default + PartialEq + std::fmt::Debug {
    /// Stands in files, so that one kind is never taken for another.
    const KIND: u8;
    /// Whether neighbours seldom have the same value. Otherwise a block of a file has one value for all its names, and only those
    /// with another one carry it.
    const ALWAYS_INLINE: bool;

    /// Appends the octets.
    fn write(&self, to: &mut Written);

    /// Reads what [`Value::write`] wrote from position `at`, which moves on; `None` for anything else.
    fn read(from: &[u8], at: &mut usize) -> Option<Self>;

    /// When it ends by itself, in whatever unit the caller counts; a tree finds the earliest fast.
    #[inline]
    fn due(&self) -> u32 {
        u32::MAX
    }

    /// Whether it stands for nothing: in an overlay, what lies under it is gone; in a file it is not written.
    #[inline]
    fn is_absent(&self) -> bool {
        false
    }

    /// Records that a zone has for it.
    fn records(&self) -> u64 {
        1
    }
}

/// The octets of one value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    octets: [u8; MAX_VALUE],
    length: usize,
}

impl Written {
    /// The value as octets.
    #[must_use]
    pub fn of<V: Value>(value: &V) -> Self {
        let mut written = Self::default();
        value.write(&mut written);
        written
    }

    /// Appends octets. What goes beyond [`MAX_VALUE`] is lost, which a test of the value shows.
    pub fn push(&mut self, octets: &[u8]) {
        for octet in octets {
            if let Some(to) = self.octets.get_mut(self.length) {
                *to = *octet;
                self.length += 1;
            }
        }
    }

    /// What was appended.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl Value for () {
    const KIND: u8 = 0;
    const ALWAYS_INLINE: bool = false;

    fn write(&self, _: &mut Written) {}

    #[inline]
    fn read(_: &[u8], _: &mut usize) -> Option<Self> {
        Some(())
    }
}
