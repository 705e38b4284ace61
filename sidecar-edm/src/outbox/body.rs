//! A file as the body of a request, read piece by piece while it is sent.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tapir_wire::http_signature::{BodyDigest, Content};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};

const PIECE: usize = 32 * 1024;
const CONTENT_TYPE: &str = "application/vnd.apache.parquet";

/// Reads a file for its digest.
pub(super) async fn digest(path: &Path) -> io::Result<Content> {
    let mut file = File::open(path).await?;
    let mut piece = vec![0; PIECE];
    let mut digest = BodyDigest::default();
    loop {
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Ok(digest.finish(CONTENT_TYPE));
        }
        digest.update(piece.get(..read).unwrap_or_default());
    }
}

/// A file of known length.
#[derive(Debug)]
pub(super) struct FileBody {
    file: File,
    left: u64,
    piece: Box<[u8]>,
}

impl FileBody {
    /// Files in the outbox do not change; should this one have, the receiver sees by the digest.
    pub(super) async fn open(path: &Path, length: u64) -> io::Result<Self> {
        Ok(Self { file: File::open(path).await?, left: length, piece: vec![0; PIECE].into() })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Self { file, left, piece } = &mut *self;
        let most = usize::try_from(*left).unwrap_or(PIECE).min(PIECE);
        let mut buffer = ReadBuf::new(piece.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(file).poll_read(context, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        *left = left.saturating_sub(read.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
