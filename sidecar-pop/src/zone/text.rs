//! The zone as a master file (RFC 1035 section 5), for resolvers that take no transfers.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use tapir_table::{Code, Cursor as _, KeyBuf, MAX_KEY};

use super::Snapshot;
use crate::dns::records::{WireName, kind};
use crate::dns::render::target;
use crate::dns::zone::{Apex, Zone as _};

/// Writes all of it. Owners are whole names, so that nothing depends on where it is read.
///
/// # Errors
/// When the zone cannot be read or the file not be written.
pub fn write(zone: &Snapshot, to: &mut impl Write) -> io::Result<()> {
    let Apex { name, mname, rname, timers: [refresh, retry, expire, minimum], ttl, record_ttl, servers } = &*zone.apex;
    let (name, serial) = (text(name.as_bytes()), zone.serial);
    writeln!(
        to,
        "{name} {ttl} IN SOA {} {} {serial} {refresh} {retry} {expire} {minimum}",
        text(mname.as_bytes()),
        text(rname.as_bytes())
    )?;
    for server in servers {
        writeln!(to, "{name} {ttl} IN NS {}", text(server.as_bytes()))?;
    }
    let mut cursor = zone.cursor();
    while cursor.advance().map_err(io::Error::other)? {
        let (key, codes) = (cursor.key(), cursor.value());
        for (front, code) in [("", codes.own), ("*.", codes.below)] {
            records(zone, code, |kind, data| writeln!(to, "{front}{key}{name} {record_ttl} IN {kind} {data}"))?;
        }
    }
    Ok(())
}

fn records(zone: &Snapshot, code: Code, mut each: impl FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
    if let Some(target) = target(code) {
        return each("CNAME", &text(target));
    }
    for (kind, data) in zone.palette.get(code).into_iter().flat_map(|set| set.records()) {
        let addresses = (<[u8; 4]>::try_from(data).map(Ipv4Addr::from), <[u8; 16]>::try_from(data).map(Ipv6Addr::from));
        match (kind, addresses) {
            (kind::CNAME, _) => each("CNAME", &text(data))?,
            (kind::A, (Ok(address), _)) => each("A", &address.to_string())?,
            (kind::AAAA, (_, Ok(address))) => each("AAAA", &address.to_string())?,
            // Types that need not be known to be carried (RFC 3597 section 5).
            (kind, _) => {
                let octets: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
                each(&format!("TYPE{kind}"), format!("\\# {} {octets}", data.len()).trim_end())?;
            }
        }
    }
    Ok(())
}

/// A name with everything escaped that means something in such a file.
fn text(wire: &[u8]) -> String {
    match KeyBuf::from_wire(wire, MAX_KEY) {
        Ok(key) => key.to_string(),
        // The root, or a name of the greatest length.
        Err(_) => WireName::from_wire(wire).unwrap_or(WireName::ROOT).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tapir_table::{Codes, Palette, RecordSet, TableFile, TableWriter};

    use super::*;
    use crate::state::zone_log::Past;
    use crate::zone::layers::Layers;
    use crate::zone::tally::Tally;
    use crate::zone::{Serial, Size};

    #[test]
    fn records_are_written_as_a_master_file_has_them() {
        let mut palette = Palette::default();
        let set = RecordSet::new(vec![(1, vec![192, 0, 2, 1]), (28, [0; 16].to_vec()), (16, b"\x03abc".to_vec())]).unwrap();
        let local = palette.intern(set).unwrap();
        let alias = palette.intern(RecordSet::new(vec![(5, b"\x06garden\0".to_vec())]).unwrap()).unwrap();
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        for (name, own, below) in [
            ("a", Code::NXDOMAIN, Code::DROP),
            ("b", local, Code::SILENT),
            ("c", Code::PASSTHRU, alias),
            (r"\;d", Code::NODATA, Code::SILENT),
        ] {
            writer.push(&KeyBuf::from_text(name, 245).unwrap(), Codes::new(own, below)).unwrap();
        }
        let table = TableFile::from_memory(writer.finish(0, &palette).unwrap().0).unwrap();
        let layers = Layers::new(Arc::new(table));
        let size = Size::of(&layers.base, Tally::of(&layers.base).unwrap());
        let apex = Apex::new(WireName::from_wire(b"\x01z\0").unwrap(), 30);
        let zone = Snapshot::new(Serial(7), Arc::new(apex), Arc::new(palette), (layers, size), Past::default());
        let mut file = Vec::new();
        write(&zone, &mut file).unwrap();
        let expected = r"z. 3600 IN SOA mname. hostmaster.dnstapir.se. 7 60 60 86400 60
z. 3600 IN NS ns1.z.
z. 3600 IN NS ns2.z.
a.z. 30 IN CNAME .
*.a.z. 30 IN CNAME rpz-drop.
b.z. 30 IN A 192.0.2.1
b.z. 30 IN TYPE16 \# 4 03616263
b.z. 30 IN AAAA ::
c.z. 30 IN CNAME rpz-passthru.
*.c.z. 30 IN CNAME garden.
\;d.z. 30 IN CNAME *.
";
        assert_eq!(String::from_utf8(file).unwrap(), expected);
    }
}
