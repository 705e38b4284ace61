//! Files that are read as a whole, and are not longer than they may be.

use std::io::{self, Read as _};
use std::path::Path;

/// The octets of a file of at most so many. Never more than one octet beyond is read: the length that a file tells may change.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let expected = usize::try_from(file.metadata()?.len().min(most)).unwrap_or_default();
    let mut octets = Vec::with_capacity(expected + 1);
    file.take(most.saturating_add(1)).read_to_end(&mut octets)?;
    if octets.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {}", size(most))));
    }
    Ok(octets)
}

fn size(octets: u64) -> String {
    if octets >= 1 << 20 { format!("{} MiB", octets >> 20) } else { format!("{octets} octets") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_long_as_the_bound_and_no_longer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), b"12345");
        assert_eq!(read(file.path(), 4).unwrap_err().to_string(), "longer than 4 octets");
        assert_eq!(size(64 << 20), "64 MiB");
        assert!(read(Path::new("/dev/zero"), 1000).is_err());
    }
}
