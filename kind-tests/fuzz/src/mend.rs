//! Right checksums for changed octets: without them nothing behind a checksum would ever be reached.

/// Numbers with the most significant octet first.
fn number(octets: &[u8], at: usize, width: usize) -> Option<usize> {
    Some(octets.get(at..at + width)?.iter().fold(0, |number, octet| number << 8 | usize::from(*octet)))
}

fn put(octets: &mut [u8], at: usize, checksum: u32) {
    if let Some(place) = octets.get_mut(at..at + 4) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// A log: `magic` octets, then records of length, checksum and content.
pub(crate) fn log(octets: &mut [u8], magic: usize) {
    let mut at = magic;
    while let Some(length) = number(octets, at, 4)
        && length > 0
        && let Some(content) = octets.get(at + 8..at + 8 + length)
    {
        let checksum = crc32fast::hash(content);
        put(octets, at + 4, checksum);
        at += 8 + length;
    }
}

const HEAD: usize = 8;
const FOOT: usize = 72;
const CHECKED: usize = 56;

/// A table: its blocks, and what the foot covers.
pub(crate) fn table(octets: &mut [u8]) {
    let Some(foot) = octets.len().checked_sub(FOOT) else { return };
    let Some(palette) = number(octets, foot + 32, 8).filter(|palette| (HEAD..=foot).contains(palette)) else { return };
    let mut at = HEAD;
    while let Some(length) = number(octets, at, 2)
        && length > 4
        && at + length <= palette
    {
        let checksum = crc32fast::hash(&octets[at..at + length - 4]);
        put(octets, at + length - 4, checksum);
        at += length;
    }
    let mut hasher = crc32fast::Hasher::new();
    for part in [0..HEAD, palette..foot, foot..foot + CHECKED] {
        hasher.update(&octets[part]);
    }
    put(octets, foot + CHECKED, hasher.finalize());
}

#[cfg(test)]
mod tests {
    use crate::seeds;

    /// What was written has the right ones already: so this looks for them where they are.
    #[test]
    fn what_was_written_is_not_changed_and_damage_is_mended() {
        type Mend = fn(&mut [u8]);
        let all: [(Vec<Vec<u8>>, Mend); 3] = [
            (seeds::tables(), super::table),
            (seeds::zone_logs(), |octets| super::log(octets, 8)),
            (seeds::observation_logs(), |octets| super::log(octets, 0)),
        ];
        for (seeds, mend) in all {
            for seed in seeds.into_iter().filter(|seed| seed.len() > 100) {
                let mut same = seed.clone();
                mend(&mut same);
                assert!(same == seed, "{seed:?}");
                let mut other = seed.clone();
                other[18] ^= 1;
                mend(&mut other);
                let differing = other.iter().zip(&seed).filter(|(one, other)| one != other).count();
                assert!((2..=9).contains(&differing), "{differing}");
            }
        }
    }
}
