//! One resolver's connection: reads, answers the handshake, hands frames on.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::FrameQueue;
use super::end::End;
use crate::framestream::{Action, Phase, Session, SessionError};
use crate::metrics::Metrics;

/// For each frame of the handshake, and for each answer.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const READ_BUFFER: usize = 64 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    frames: &FrameQueue,
    metrics: &Metrics,
    limit: Duration,
) -> End {
    let mut session = Session::default();
    let mut buffer = vec![0; READ_BUFFER];
    let mut deadline = Instant::now() + limit;
    loop {
        let phase = session.phase();
        let read = if phase == Phase::Data {
            stream.read(&mut buffer).await
        } else {
            match timeout_at(deadline, stream.read(&mut buffer)).await {
                Ok(read) => read,
                Err(_) => return End::HandshakeTimeout,
            }
        };
        match read {
            Ok(0) if session.at_boundary() => return End::Closed,
            Ok(0) => return End::Cut,
            Ok(length) => session.push(&buffer[..length]),
            Err(_) => return End::Broken,
        }
        match act(&mut session, &mut stream, frames, metrics, limit).await {
            Ok(()) => {}
            Err(end) => return end,
        }
        // The next frame of the handshake has its own time; octets of an unfinished one do not prolong it.
        if session.phase() != phase {
            deadline = Instant::now() + limit;
        }
    }
}

/// Does everything that can be done with what was read.
async fn act(
    session: &mut Session,
    stream: &mut (impl AsyncWrite + Unpin),
    frames: &FrameQueue,
    metrics: &Metrics,
    limit: Duration,
) -> Result<(), End> {
    loop {
        match session.next_action() {
            Ok(None) => return Ok(()),
            Ok(Some(Action::Data(payload))) => {
                metrics.frames.inc();
                if !frames.offer(payload) {
                    metrics.frames_dropped.inc();
                }
            }
            Ok(Some(Action::Started)) => {}
            Ok(Some(Action::Reply(octets))) => write(stream, &octets, limit).await?,
            Ok(Some(Action::Finish(octets))) => {
                write(stream, &octets, limit).await?;
                return Err(End::Finished);
            }
            Err(error) => {
                log_violation(error);
                return Err(End::Protocol);
            }
        }
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8], limit: Duration) -> Result<(), End> {
    match timeout(limit, stream.write_all(octets)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Broken),
        Err(_) => Err(End::HandshakeTimeout),
    }
}

fn log_violation(error: SessionError) {
    tracing::debug!(error = %error, "dnstap connection violates the protocol");
}
