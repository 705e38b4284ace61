//! A primary that does what a test says: good, wrong, silent, cut off.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tapir_pop::dns::records::{Reader, kind};

/// Owners below the zone, and the targets of their CNAMEs.
pub(crate) type Records = Vec<(String, String)>;

/// How it behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) serial: u32,
    pub(crate) refresh: u32,
    pub(crate) retry: u32,
    pub(crate) expire: u32,
    /// Owner below the zone -> target of its CNAME.
    pub(crate) records: BTreeMap<String, String>,
    /// From which version, to which, what goes, what comes.
    pub(crate) steps: Vec<(u32, u32, Records, Records)>,
    /// Answers everything with this code.
    pub(crate) refuse: Option<u8>,
    /// Ends a transfer behind so many octets.
    pub(crate) cut: Option<usize>,
    /// Says nothing over UDP, or that it does not fit.
    pub(crate) deaf: bool,
    pub(crate) truncate: bool,
    /// Nobody is there.
    pub(crate) closed: bool,
    /// Says nothing while this is so.
    pub(crate) silent: bool,
    /// Ends a transfer with another version than it began with.
    pub(crate) torn: bool,
    /// Octets in place of any answer over TCP.
    pub(crate) rubbish: Option<Vec<u8>>,
    /// Types that were asked for, UDP and TCP.
    pub(crate) asked: Vec<(bool, u16)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Primary {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

pub(crate) const ZONE: &str = "rpz.feed.";

impl Primary {
    pub(crate) fn new(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).unwrap();
        let primary = Self { address, script: Arc::new(Mutex::new(script)) };
        let of_datagrams = primary.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = of_datagrams.datagram(&buffer[..length]) {
                    _ = socket.send_to(&answer, from);
                }
            }
        });
        let of_streams = primary.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let primary = of_streams.clone();
                std::thread::spawn(move || _ = primary.stream(stream.unwrap()));
            }
        });
        primary
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Types asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<(bool, u16)> {
        std::mem::take(&mut self.script().asked)
    }

    fn datagram(&self, request: &[u8]) -> Option<Vec<u8>> {
        let reader = Reader::new(request).unwrap();
        let mut script = self.script();
        script.asked.push((false, reader.question().unwrap().kind));
        if script.deaf || script.closed || script.silent {
            return None;
        }
        let flags = if script.truncate { 0x8600 } else { 0x8400 | u16::from(script.refuse.unwrap_or(0)) };
        let records = if script.truncate || script.refuse.is_some() { Vec::new() } else { vec![script.soa(script.serial)] };
        Some(message(request, flags, &records))
    }

    fn stream(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut request)?;
        let mut reader = Reader::new(&request).unwrap();
        let asked = reader.question().unwrap().kind;
        self.script().asked.push((true, asked));
        while self.script().silent {
            std::thread::sleep(Duration::from_millis(10));
        }
        // A copy: it takes a while to write a large zone, and meanwhile somebody may ask for the version.
        let script = self.script().clone();
        if script.closed {
            return Ok(());
        }
        if let Some(rubbish) = &script.rubbish {
            return stream.write_all(rubbish);
        }
        let (messages, cut) = if let Some(code) = script.refuse {
            (vec![message(&request, 0x8400 | u16::from(code), &[])], None)
        } else {
            let held = reader.next().unwrap().map(|record| record.soa().unwrap().serial);
            let records = script.transfer(asked, held);
            // Several messages, so that there is something between them.
            (records.chunks(7).map(|part| message(&request, 0x8400, part)).collect(), script.cut.filter(|_| asked != kind::SOA))
        };
        let framed: Vec<u8> = messages
            .iter()
            .flat_map(|message| u16::try_from(message.len()).unwrap().to_be_bytes().into_iter().chain(message.iter().copied()))
            .collect();
        stream.write_all(&framed[..cut.unwrap_or(framed.len()).min(framed.len())])
    }
}

impl Script {
    fn soa(&self, serial: u32) -> Vec<u8> {
        let mut data = b"\0\0".to_vec();
        for number in [serial, self.refresh, self.retry, self.expire, 60] {
            data.extend(number.to_be_bytes());
        }
        record("", kind::SOA, &data)
    }

    fn transfer(&self, asked: u16, held: Option<u32>) -> Vec<Vec<u8>> {
        let soa = self.soa(self.serial);
        if asked == kind::SOA || held == Some(self.serial) {
            return vec![soa];
        }
        let alias = |(owner, target): &(String, String)| record(owner, kind::CNAME, &wire(target));
        let begin = self.steps.iter().position(|step| Some(step.0) == held);
        let mut records = vec![soa.clone()];
        if let (kind::IXFR, Some(begin)) = (asked, begin) {
            for (from, to, gone, come) in &self.steps[begin..] {
                records.push(self.soa(*from));
                records.extend(gone.iter().map(alias));
                records.push(self.soa(*to));
                records.extend(come.iter().map(alias));
            }
        } else {
            records.extend(self.records.iter().map(|(owner, target)| alias(&(owner.clone(), target.clone()))));
        }
        records.push(if self.torn { self.soa(self.serial.wrapping_add(1)) } else { soa });
        records
    }
}

/// Of a name that is written as it is sent: a primary with many of them is to be quick.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> = labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}

fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = if owner.is_empty() { wire(ZONE) } else { wire(&format!("{owner}.{ZONE}")) };
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 60]);
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

fn message(request: &[u8], flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = request[..2].to_vec();
    message.extend(flags.to_be_bytes());
    message.extend([0, 1]);
    message.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    message.extend([0; 4]);
    let question = 12 + wire(ZONE).len() + 4;
    message.extend(&request[12..question]);
    message.extend(records.iter().flatten());
    message
}
