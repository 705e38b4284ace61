//! Clients with addresses of their own, each question asked once: a second one for want of patience would be one answer more.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};

use crate::support::broker::soon;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A question and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// As it was written in the question.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) client: u8,
    /// Second word of the answer's header.
    pub(crate) flags: u16,
}

pub(crate) struct Asker {
    resolver: SocketAddr,
}

impl Asker {
    pub(crate) fn new(port: u16) -> Self {
        Self { resolver: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// Asks from 127.0.0.`client`.
    pub(crate) async fn ask(&self, name: &str, kind: u16, class: u16, client: u8, transport: Transport) -> Asked {
        let question = question(name, kind, class);
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, client), 0));
        let answer = soon(&format!("answer to {name} {kind}"), async {
            match transport {
                Transport::Udp => self.by_udp(&question, from).await,
                Transport::Tcp => self.by_tcp(&question, from).await,
            }
        })
        .await
        .unwrap_or_else(|error| panic!("{name} {kind} {transport:?}: {error}"));
        assert!(answer.len() >= 12 && answer[..2] == question[..2] && answer[2] & 0x80 != 0, "{name}: {answer:?}");
        Asked { name: name.to_owned(), kind, class, client, flags: u16::from_be_bytes([answer[2], answer[3]]) }
    }

    async fn by_udp(&self, question: &[u8], from: SocketAddr) -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind(from).await?;
        socket.connect(self.resolver).await?;
        socket.send(question).await?;
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    }

    async fn by_tcp(&self, question: &[u8], from: SocketAddr) -> std::io::Result<Vec<u8>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from)?;
        let mut stream = socket.connect(self.resolver).await?;
        stream.write_all(&[&(question.len() as u16).to_be_bytes(), question].concat()).await?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).await?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

/// With recursion desired, as stubs ask, and EDNS.
fn question(name: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&[kind.to_be_bytes(), class.to_be_bytes()].concat());
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}
