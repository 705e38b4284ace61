//! The least that a server can do: it has the octets of a transfer, and writes them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context as _, Result};

/// What POP writes at a time.
const PIECE: usize = 128 << 10;

/// Serves until this process ends.
pub(super) fn serve(octets: Arc<Vec<u8>>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listening as a bare server")?;
    let address = listener.local_addr().context("listening as a bare server")?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            if stream.read(&mut [0; 512]).is_ok() {
                // The reader that goes away is missed by nobody.
                let _ = octets.chunks(PIECE).try_for_each(|piece| stream.write_all(piece));
            }
        }
    });
    Ok(address)
}
