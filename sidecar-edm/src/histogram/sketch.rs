//! Sketches as Core reads them: HyperLogLog with 1024 registers of four bits (`edm.md` 8.3).

/// Registers of a sketch.
pub(super) const REGISTERS: usize = 1024;
/// Up to so many registers that are set are written one by one.
const SPARSE: usize = 256;
/// Version of the format, beside the kind.
const VERSION: u8 = 0x10;
/// Width of a register and how many there are.
const SHAPE: u8 = (4 - 1) << 5 | 10;

/// Up to how many clients a sketch is the set of their hashes; 1 to 131 072.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold(u32);

impl Threshold {
    /// Upstream's largest: beyond, it panics.
    pub const MAX: u32 = 1 << 17;

    /// None out of range.
    #[must_use]
    pub const fn new(clients: u32) -> Option<Self> {
        if clients >= 1 && clients <= Self::MAX { Some(Self(clients)) } else { None }
    }

    /// The number of clients.
    #[must_use]
    pub const fn clients(self) -> usize {
        self.0 as usize
    }
}

impl Default for Threshold {
    /// Upstream's.
    fn default() -> Self {
        Self(20)
    }
}

/// A sketch taken out of memory.
#[derive(Clone, PartialEq, Eq)]
pub enum Sketch {
    /// No client.
    Empty,
    /// Few clients: their hashes.
    Explicit(Vec<u64>),
    /// More clients.
    Registers(Box<[u8; REGISTERS]>),
}

impl Sketch {
    /// How many clients, as upstream rounds it.
    #[must_use]
    pub fn cardinality(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Explicit(hashes) => hashes.len() as u64,
            Self::Registers(registers) => estimate(registers),
        }
    }

    /// The octets of a column; none where the clients are few enough to be told apart.
    #[must_use]
    pub fn column(&self, threshold: Threshold) -> Option<Vec<u8>> {
        matches!(self, Self::Registers(_)).then(|| self.to_bytes(threshold))
    }

    /// The octets of any sketch.
    #[must_use]
    pub fn to_bytes(&self, threshold: Threshold) -> Vec<u8> {
        let head = |kind: u8| vec![VERSION | kind, SHAPE, 0x40 | threshold.0.ilog2() as u8];
        match self {
            Self::Empty => head(1),
            Self::Explicit(hashes) => {
                let mut octets = head(2);
                let mut sorted: Vec<i64> = hashes.iter().map(|hash| hash.cast_signed()).collect();
                sorted.sort_unstable();
                octets.extend(sorted.into_iter().flat_map(i64::to_be_bytes));
                octets
            }
            Self::Registers(registers) if set(registers) <= SPARSE => {
                let mut octets = head(3);
                sparse(registers, &mut octets);
                octets
            }
            Self::Registers(registers) => {
                let mut octets = head(4);
                let (pairs, _) = registers.as_chunks::<2>();
                octets.extend(pairs.iter().map(|[high, low]| high << 4 | low));
                octets
            }
        }
    }
}

impl std::fmt::Debug for Sketch {
    /// Hashes of few clients tell who they are.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Sketch of {}", self.cardinality())
    }
}

fn set(registers: &[u8; REGISTERS]) -> usize {
    registers.iter().filter(|value| **value != 0).count()
}

/// Ten bits of the register and four of its value, for each that is set.
fn sparse(registers: &[u8; REGISTERS], octets: &mut Vec<u8>) {
    let (mut bits, mut waiting) = (0_u32, 0);
    for (register, value) in registers.iter().enumerate().filter(|(_, value)| **value != 0) {
        bits = bits << 14 | (register as u32) << 4 | u32::from(*value);
        waiting += 14;
        while waiting >= 8 {
            waiting -= 8;
            octets.push((bits >> waiting) as u8);
        }
    }
    if waiting > 0 {
        octets.push((bits << (8 - waiting)) as u8);
    }
}

/// Flajolet and others (2007) with upstream's limits.
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    const M: f64 = REGISTERS as f64;
    /// 2^24: what registers of this width can tell.
    const LARGEST: f64 = (1_u64 << 24) as f64;
    // Powers of two: exact in any order.
    let sum: f64 = registers.iter().map(|value| 1.0 / f64::from(1_u32 << value)).sum();
    let raw = 0.7213 / (1.0 + 1.079 / M) * M * M / sum;
    let zeros = REGISTERS - set(registers);
    let clients = if zeros > 0 && raw < 2.5 * M {
        M * (M / zeros as f64).ln()
    } else if raw <= LARGEST / 30.0 {
        raw
    } else {
        -LARGEST * (1.0 - raw / LARGEST).ln()
    };
    clients.ceil() as u64
}

/// The register that a hash sets, and its value; none for hashes that set none.
pub(super) fn register(hash: u64) -> Option<(u16, u8)> {
    let rest = hash >> 10;
    let value = 1 + (rest | !0x3fff).trailing_zeros();
    (rest != 0).then_some(((hash & 0x3ff) as u16, value as u8))
}
