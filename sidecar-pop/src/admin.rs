//! What may be asked and told over the socket on this machine, as JSON over HTTP: for `tapir-pop ctl` and for scripts.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | what `/status` says |
//! | `GET /v1/sources` | its rows of sources |
//! | `GET /v1/filterlists?limit=N` | names with source, class and tags |
//! | `GET /v1/explain?name=N` | why the name is answered as it is |
//! | `POST /v1/explain?name=N` | the same for the policy of another `pop.yaml`, which is the body |
//! | `POST /v1/bump` | resolvers are told of the zone again |
//! | `POST /v1/reload` | files are read again |
//!
//! What upstream's tool needs of upstream's interface is served at an address, if that is configured ([`legacy`]).
//!
//! Whoever can open the socket may ask everything: it belongs to POP's user, and nobody else can.

pub mod client;
mod explain;
pub mod legacy;
mod lists;
mod routes;
pub mod server;
pub mod tables;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::dns::server::Published;
use crate::knowledge::listings::Knowledge;
use crate::knowledge::observations::Observations;
use crate::setup::Setup;
use crate::status::Telemetry;

/// What only the engine knows or does. It answers between two pieces of work.
#[derive(Debug)]
pub enum Question {
    /// Everything that decides, to be walked through by whoever asks.
    Knowledge(oneshot::Sender<Knowledge>),
    /// What was observed, by source: a snapshot.
    Observations(oneshot::Sender<Vec<(Arc<str>, Observations)>>),
    /// Tell resolvers of the zone again.
    Bump(oneshot::Sender<()>),
}

/// Questions that wait at most: who asks more waits himself.
pub const MOST_QUESTIONS: usize = 16;

/// Where answers come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Of the sidecar.
    pub telemetry: Arc<Telemetry>,
    /// The configuration in force.
    pub setup: watch::Receiver<Option<Arc<Setup>>>,
    /// The zone.
    pub published: Published,
    /// The engine.
    pub engine: mpsc::Sender<Question>,
    /// Who reads the files; answers when that is done.
    pub loader: mpsc::Sender<oneshot::Sender<()>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The request says something that cannot be meant.
    #[error("{0}")]
    Request(String),
    /// There is no such place.
    #[error("there is no {0}")]
    NotFound(String),
    /// Nothing is in force yet.
    #[error("no configuration is in force")]
    NoConfiguration,
    /// What is known cannot be read.
    #[error(transparent)]
    Read(#[from] tapir_table::ReadError),
    /// Whoever knows does not answer.
    #[error("no answer in time")]
    NoAnswer,
}

/// An answer, or why there is none.
pub type Answer = Result<Value, AdminError>;
