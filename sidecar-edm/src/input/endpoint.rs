//! Where resolvers connect: a unix socket, TCP, or TCP with TLS.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::peer::Socket;
use super::socket::{BoundSocket, SOCKET_MODE};

/// Where resolvers are to connect.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A socket in the file system.
    Unix {
        /// Its file.
        path: PathBuf,
        /// Permissions of the file: who can write to it may connect.
        mode: u32,
    },
    /// Host and port.
    Tcp(String),
    /// Host and port, and what TLS needs.
    Tls(String, Arc<ServerConfig>),
}

impl Endpoint {
    /// A unix socket for everybody who finds it: resolvers run as another user in another container.
    #[must_use]
    pub const fn unix(path: PathBuf) -> Self {
        Self::Unix { path, mode: SOCKET_MODE }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix { path, .. } => path.display().fmt(formatter),
            Self::Tcp(address) => write!(formatter, "tcp {address}"),
            Self::Tls(address, _) => write!(formatter, "tls {address}"),
        }
    }
}

/// An endpoint in service.
#[derive(Debug)]
pub(super) enum Bound {
    Unix(BoundSocket),
    Tcp { listener: TcpListener, wanted: String, tls: Option<Arc<ServerConfig>> },
}

impl Bound {
    async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        let (wanted, tls) = match endpoint {
            Endpoint::Unix { path, mode } => return BoundSocket::bind(path, *mode).map(Self::Unix),
            Endpoint::Tcp(address) => (address, None),
            Endpoint::Tls(address, tls) => (address, Some(Arc::clone(tls))),
        };
        Ok(Self::Tcp { listener: TcpListener::bind(wanted).await?, wanted: wanted.clone(), tls })
    }

    /// Whether this is it already, at most with other permissions or another certificate, which it takes over.
    fn becomes(&mut self, endpoint: &Endpoint) -> io::Result<bool> {
        match (self, endpoint) {
            (Self::Unix(socket), Endpoint::Unix { path, mode }) if socket.path == *path && socket.file_is_ours() => {
                socket.set_mode(*mode).map(|()| true)
            }
            (Self::Tcp { wanted, tls, .. }, Endpoint::Tcp(address)) if wanted == address => {
                *tls = None;
                Ok(true)
            }
            (Self::Tcp { wanted, tls, .. }, Endpoint::Tls(address, config)) if wanted == address => {
                *tls = Some(Arc::clone(config));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, Option<Arc<ServerConfig>>)> {
        match self {
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                Ok((Socket::Unix(stream.into_std()?), None))
            }
            Self::Tcp { listener, tls, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Tcp(stream.into_std()?), tls.clone()))
            }
        }
    }

    /// Somebody who looks for it can still find it.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Unix(socket) => socket.file_is_ours(),
            Self::Tcp { .. } => true,
        }
    }

    /// Where it really is: a port that was asked for as 0 has a number by now.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Unix(socket) => socket.path.display().to_string(),
            Self::Tcp { listener, wanted, .. } => {
                listener.local_addr().map_or_else(|_| wanted.clone(), |address| address.to_string())
            }
        }
    }
}

/// Makes `serving` what is wanted. The new one is bound before the old one goes; where that fails, the old one stays.
pub(super) async fn follow(serving: &mut Option<Bound>, wanted: &Endpoint) -> io::Result<()> {
    if let Some(bound) = serving
        && bound.becomes(wanted)?
    {
        return Ok(());
    }
    let refused = match Bound::bind(wanted).await {
        Ok(new) => {
            tracing::info!(endpoint = %wanted, "listening for dnstap");
            *serving = Some(new);
            return Ok(());
        }
        Err(refused) => refused,
    };
    // Nobody finds a socket without its file.
    if let Some(Bound::Unix(old)) = serving.take_if(|old| !old.is_there()) {
        *serving = old.again().ok().map(Bound::Unix);
    }
    Err(refused)
}
