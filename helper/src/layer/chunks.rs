//! The uncompressed stream on its way between threads: one decompresses, one hashes, one reads the archive.
//!
//! Chunks are shared, not copied, and their memory is used again: fresh pages for each would cost as much as hashing.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

use super::source::{Growth, Watch};
use super::tar::{Stream, invalid, limit};
use crate::error::{Failure, Result};

/// Small enough that a chunk is still in the cache when the second thread gets to it.
const CHUNK: usize = 256 << 10;

/// How far the decompressing thread may be ahead.
const AHEAD: usize = 16;

/// Little data with a high ratio is no bomb.
const RATIO_COUNTS_FROM: u64 = 16 << 20;

#[derive(Clone)]
struct Chunk(Arc<Vec<u8>>);

/// The three ends: `decompress` on one thread, `Hasher` on another, `Archive` on the reader's.
pub fn channels(heard: &mut dyn FnMut()) -> (Producer, Hasher, Archive<'_>) {
    let (archive, archive_end) = sync_channel(AHEAD);
    let (hasher, hasher_end) = sync_channel(AHEAD);
    let (back, spare) = sync_channel(3 * AHEAD);
    (
        Producer {
            archive,
            hasher,
            spare,
        },
        Hasher {
            chunks: hasher_end,
            back: back.clone(),
        },
        Archive {
            chunks: archive_end,
            back,
            current: None,
            position: 0,
            ended: false,
            heard,
        },
    )
}

pub struct Producer {
    archive: SyncSender<Result<Chunk>>,
    hasher: SyncSender<Chunk>,
    spare: Receiver<Vec<u8>>,
}

pub struct Limits {
    /// Of the uncompressed stream.
    pub bytes: u64,
    /// Uncompressed to compressed.
    pub ratio: u64,
}

impl Producer {
    /// Reads `input` to its end. A failure travels to the archive's end, in its place of the stream.
    pub fn produce(self, mut input: impl Read, growth: &Growth, limits: &Limits, watch: &Watch) {
        let mut produced = 0;
        loop {
            let mut chunk = self.spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
            chunk.resize(CHUNK, 0);
            let read = fill(&mut input, &mut chunk, growth, watch).map_err(|error| failure(&error));
            let checked = read.and_then(|length| {
                produced += length as u64;
                check(produced, watch.read.load(Ordering::Relaxed), limits)?;
                Ok(length)
            });
            match checked {
                Ok(0) => return,
                Ok(length) => {
                    chunk.truncate(length);
                    let chunk = Chunk(Arc::new(chunk));
                    let _ = self.hasher.send(chunk.clone());
                    if self.archive.send(Ok(chunk)).is_err() {
                        return; // the reader has failed
                    }
                }
                Err(failure) => {
                    let _ = self.archive.send(Err(failure));
                    return;
                }
            }
        }
    }
}

impl Producer {
    pub fn fail(self, error: &io::Error) {
        let _ = self.archive.send(Err(failure(error)));
    }
}

/// As much as there is, at least one byte but at the end.
fn fill(
    input: &mut impl Read,
    buffer: &mut [u8],
    growth: &Growth,
    watch: &Watch,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if filled > 0 || watch.stop.load(Ordering::Relaxed) => break,
            Err(_) => growth.wait()?,
        }
    }
    Ok(filled)
}

fn check(produced: u64, read: u64, limits: &Limits) -> Result<()> {
    if produced > limits.bytes {
        let most = limits.bytes;
        return Err(limit(format!("the layer is larger than {most} bytes")));
    }
    if produced > RATIO_COUNTS_FROM && produced / limits.ratio.max(1) > read {
        let ratio = limits.ratio;
        return Err(limit(format!(
            "the layer is compressed more than {ratio} times"
        )));
    }
    Ok(())
}

fn failure(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(raw) => Failure::new("read the blob").errno(rustix::io::Errno::from_raw_os_error(raw)),
        None => invalid(error.to_string()),
    }
}

pub struct Hasher {
    chunks: Receiver<Chunk>,
    back: SyncSender<Vec<u8>>,
}

impl Hasher {
    /// The digest of all that was produced, and its length.
    pub fn hash(self) -> (String, u64) {
        let (mut hash, mut length) = (Sha256::new(), 0);
        while let Ok(chunk) = self.chunks.recv() {
            hash.update(&*chunk.0);
            length += chunk.0.len() as u64;
            give_back(chunk, &self.back);
        }
        (format!("sha256:{:x}", hash.finalize()), length)
    }
}

/// The stream as the archive's reader sees it.
pub struct Archive<'a> {
    chunks: Receiver<Result<Chunk>>,
    back: SyncSender<Vec<u8>>,
    current: Option<Chunk>,
    position: usize,
    ended: bool,
    /// Called with every chunk.
    heard: &'a mut dyn FnMut(),
}

impl Stream for Archive<'_> {
    fn fill(&mut self) -> Result<&[u8]> {
        let used_up = |chunk: &Chunk| self.position == chunk.0.len();
        if self.current.as_ref().is_none_or(used_up) && !self.ended {
            if let Some(chunk) = self.current.take() {
                give_back(chunk, &self.back);
            }
            self.position = 0;
            (self.heard)();
            match self.chunks.recv() {
                Ok(chunk) => self.current = Some(chunk?),
                Err(_) => self.ended = true,
            }
        }
        Ok(match &self.current {
            Some(chunk) => &chunk.0[self.position..],
            None => &[],
        })
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

/// The last of the two users returns the memory.
fn give_back(chunk: Chunk, back: &SyncSender<Vec<u8>>) {
    if let Some(memory) = Arc::into_inner(chunk.0) {
        let _ = back.try_send(memory);
    }
}
