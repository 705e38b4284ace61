//! Bit streams, most significant bit first.

/// Bits needed to write `value`; none for zero.
pub(super) fn bit_length(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Reads from a position; `None` beyond the end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn at(bytes: &'a [u8], position: u64) -> Self {
        Self { bytes, position }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(usize::try_from(self.position / 8).ok()?)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// Up to 64 bits as a number.
    pub(super) fn bits(&mut self, count: u32) -> Option<u64> {
        let mut value = 0;
        let mut missing = count;
        while missing > 0 {
            let byte = *self.bytes.get(usize::try_from(self.position / 8).ok()?)?;
            let used = u32::try_from(self.position % 8).ok()?;
            let take = (8 - used).min(missing);
            let part = (u32::from(byte) >> (8 - used - take)) & ((1 << take) - 1);
            value = value << take | u64::from(part);
            self.position += u64::from(take);
            missing -= take;
        }
        Some(value)
    }

    /// A number in groups of seven bits; five groups hold more than any file can mean.
    pub(super) fn variable(&mut self) -> Option<u64> {
        let mut value = 0;
        for _ in 0..5 {
            let octet = self.bits(8)?;
            value = value << 7 | (octet & 0x7f);
            if octet & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Collects bits; missing ones of the last octet are zero.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    position: u64,
}

impl Writer {
    pub(super) fn bits(&mut self, value: u64, count: u32) {
        for shift in (0..count).rev() {
            let used = self.position % 8;
            if used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut()
                && value >> shift & 1 == 1
            {
                *last |= 0x80 >> used;
            }
            self.position += 1;
        }
    }

    pub(super) fn variable(&mut self, value: u64) {
        let octets = variable_octets(value);
        for group in (0..octets).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            self.bits(more | (value >> (7 * group) & 0x7f), 8);
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Octets of a variable number as upstream's writer chooses them: its thresholds are one lower than necessary, and four octets
/// are its limit.
pub(super) fn variable_octets(value: u64) -> u32 {
    match value {
        0..0x7f => 1,
        0x7f..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        _ => 4,
    }
}
