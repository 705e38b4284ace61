//! A whole zone, transferred.

use super::held::HeldError;
use crate::dns::records::{Event, Record, Soa, kind};
use crate::feeds::collect::{Collected, Collector, Place};
use crate::feeds::record::{BadRecord, Data, Read, RecordReader};

/// Type of a record whose data is a name.
const PTR: u16 = 12;

/// What a record means; nothing where it is of the zone itself.
pub(super) fn read(reader: &RecordReader, record: &Record<'_>) -> Result<Option<Read>, BadRecord> {
    match record.kind {
        kind::CNAME => {
            let target = record.target().map_err(|_| BadRecord::Data)?;
            reader.read(&record.owner, Data::Alias(&target))
        }
        PTR => {
            let target = record.target().map_err(|_| BadRecord::Data)?;
            reader.read(&record.owner, Data::Other(PTR, target.as_bytes()))
        }
        kind => reader.read(&record.owner, Data::Other(kind, record.data())),
    }
}

/// A whole transfer as it comes.
pub(super) struct Whole {
    collector: Collector,
    place: Place,
    reader: RecordReader,
    records: u64,
}

impl Whole {
    /// Nothing yet, for a table in that place.
    pub(super) fn begin(reader: RecordReader, place: Place) -> Self {
        Self { collector: Collector::new(reader.fit, reader.local_data, &place), place, reader, records: 0 }
    }

    /// It is there to its end.
    pub(super) fn finish(mut self, soa: &Soa) -> Result<Collected, HeldError> {
        self.collector.serial = Some(soa.serial);
        Ok(self.collector.finish(&self.place)?)
    }

    /// What of it is a record of the zone.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Result<(), HeldError> {
        let record = match event {
            Event::Added(record) => record,
            Event::Whole(_) | Event::Step { .. } | Event::Reached(_) | Event::Removed(_) => return Ok(()),
        };
        self.records += 1;
        match read(&self.reader, record) {
            Ok(Some(read)) => self.collector.record(read).map_err(|error| HeldError::Collect(error.into())),
            Ok(None) => Ok(()),
            Err(error) => {
                self.collector.refuse(self.records, &error);
                Ok(())
            }
        }
    }
}
