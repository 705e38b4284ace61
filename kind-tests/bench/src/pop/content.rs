//! What a transfer says, read record by record by another library, against what it should.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;

use crate::names::hash;

const SUFFIX: &str = ".dnstapir.";

/// An error unless exactly these names are blocked.
pub(super) fn check<'a>(octets: &[u8], expected: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut wanted: HashSet<u64> = expected.map(|name| hash(name)).collect();
    let mut rest = octets;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (message, behind) =
            behind.split_at_checked(usize::from(u16::from_be_bytes(*length))).context("a message is cut off")?;
        for record in &Message::from_vec(message).context("reading a message of the transfer")?.answers {
            if record.record_type() == RecordType::CNAME {
                let owner = record.name.to_ascii();
                let name = owner.strip_suffix(SUFFIX).context("a name outside of the zone")?;
                if !wanted.remove(&hash(name)) {
                    bail!("{name} should not be in the zone, or is there twice");
                }
            }
        }
        rest = behind;
    }
    if !wanted.is_empty() {
        bail!("{} names are missing in the zone", wanted.len());
    }
    Ok(())
}
