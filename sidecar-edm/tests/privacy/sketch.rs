//! Sketches, as whoever gets them reads them: from the words of the specification.

const REGISTERS: usize = 1024;

/// The places of a sketch.
pub(super) struct Registers([u8; REGISTERS]);

impl Registers {
    pub(super) fn read(octets: &[u8]) -> Self {
        let (head, data) = octets.split_at(3);
        assert_eq!(head[1], 0x6a);
        let mut registers = [0; REGISTERS];
        match head[0] & 15 {
            3 => {
                let bit = |place: usize| usize::from(data[place / 8] >> (7 - place % 8) & 1);
                for word in 0..data.len() * 8 / 14 {
                    let value = (0..14).fold(0, |value, place| value << 1 | bit(word * 14 + place));
                    registers[value >> 4] = registers[value >> 4].max((value & 15) as u8);
                }
            }
            4 => {
                for (place, octet) in data.iter().enumerate() {
                    (registers[2 * place], registers[2 * place + 1]) = (octet >> 4, octet & 15);
                }
            }
            // One that says who was there.
            kind => panic!("a sketch of kind {kind} left"),
        }
        Self(registers)
    }

    /// What the place of a hash has.
    pub(super) const fn at(&self, hash: u64) -> u8 {
        self.0[(hash & 0x3ff) as usize]
    }

    /// What a hash would put there.
    pub(super) fn value_of(&self, hash: u64) -> u8 {
        let rest = hash >> 10;
        if rest == 0 { 0 } else { 1 + rest.trailing_zeros().min(14) as u8 }
    }

    /// Whether it may have come.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.at(hash) >= self.value_of(hash)
    }
}
