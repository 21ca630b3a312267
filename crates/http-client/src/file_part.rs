//! A part of a file as the body of a request: sent piece by piece, so that it need not fit into memory.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePart<'a> {
    /// The file.
    pub path: &'a Path,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl FilePart<'_> {
    /// The part as a body, and how many of its bytes have been read to be sent.
    ///
    /// Errors: the file cannot be opened.
    pub(crate) fn open(self) -> io::Result<(FileBody, Arc<AtomicU64>)> {
        let mut file = File::open(self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let sent = Arc::new(AtomicU64::new(0));
        Ok((FileBody { file, left: self.length, sent: Arc::clone(&sent) }, sent))
    }
}

/// What of a part is still to be sent.
pub(crate) struct FileBody {
    file: File,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    // The thread that drives connections waits for the disk here, which is far faster than the network.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let wanted = self.left.min(PIECE);
        if wanted == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; wanted as usize];
        if let Err(error) = self.file.read_exact(&mut piece) {
            return Poll::Ready(Some(Err(error)));
        }
        self.left -= wanted;
        self.sent.fetch_add(wanted, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// Exact, so that the length is told and nothing is sent in chunks, which stores of objects refuse.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
