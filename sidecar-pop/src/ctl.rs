//! `tapir-pop ctl`: questions to a POP on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use tapir_wire::node::paths;

use crate::admin::client::{ClientError, ask, encoded};
use crate::admin::tables;
use crate::setup::ADMIN_SOCKET;

/// What to ask, and how to show it.
#[derive(Debug, Args)]
pub struct Ctl {
    /// The socket of POP.
    #[arg(long, global = true, env = "TAPIR_POP_ADMIN_SOCKET", default_value_os_t = default_socket())]
    socket: PathBuf,
    /// How to show the answer.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    request: Request,
}

/// How to show an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// As it came.
    Json,
}

#[derive(Debug, Subcommand)]
enum Request {
    /// The zone, the connection to Core, and what is wrong.
    Status,
    /// Each source with its state, names and refused lines.
    Sources,
    /// Names with source, class and tags, as upstream's tool shows them.
    Filterlists {
        /// So many names at most.
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Why a name is answered as it is.
    Explain {
        /// The name.
        name: String,
        /// Explain with this pop.yaml in place of the one in force.
        #[arg(long)]
        policy: Option<PathBuf>,
    },
    /// Tell resolvers of the zone again.
    Bump,
    /// Read all files again.
    Reload,
}

fn default_socket() -> PathBuf {
    Path::new(paths::POP_STATE_DIRECTORY).join(ADMIN_SOCKET)
}

impl Ctl {
    /// Asks, and makes the answer a text.
    pub fn run(&self) -> Result<String, String> {
        let value = self.ask().map_err(|error| error.to_string())?;
        if self.output == Output::Json {
            return serde_json::to_string_pretty(&value).map_err(|error| error.to_string());
        }
        Ok(match self.request {
            Request::Status => tables::status(&value),
            Request::Sources => tables::sources(&value),
            Request::Filterlists { .. } => tables::filter_lists(&value),
            Request::Explain { .. } => tables::explanation(&value),
            Request::Bump => tables::fields(&value, &["serial", "told"]),
            Request::Reload => tables::fields(&value, &["revision", "loadedAt", "error"]),
        })
    }

    fn ask(&self) -> Result<Value, ClientError> {
        let socket = &self.socket;
        match &self.request {
            Request::Status => ask(socket, "/v1/status", false, ""),
            Request::Sources => ask(socket, "/v1/sources", false, ""),
            Request::Filterlists { limit: None } => ask(socket, "/v1/filterlists", false, ""),
            Request::Filterlists { limit: Some(limit) } => ask(socket, &format!("/v1/filterlists?limit={limit}"), false, ""),
            Request::Explain { name, policy } => {
                let target = format!("/v1/explain?name={}", encoded(name));
                match policy {
                    None => ask(socket, &target, false, ""),
                    Some(file) => ask(socket, &target, true, &fs::read_to_string(file)?),
                }
            }
            Request::Bump => ask(socket, "/v1/bump", true, ""),
            Request::Reload => ask(socket, "/v1/reload", true, ""),
        }
    }
}
