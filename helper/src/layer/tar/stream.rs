//! Where the archive's bytes come from.

use crate::error::Result;

/// A source of bytes that lends what it has, so that file contents are written without being copied.
pub trait Stream {
    /// Bytes not yet consumed; empty at the end only.
    fn fill(&mut self) -> Result<&[u8]>;
    /// Marks the first `count` of them as used.
    fn consume(&mut self, count: usize);
}

impl Stream for &[u8] {
    fn fill(&mut self) -> Result<&[u8]> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = &self[count..];
    }
}
