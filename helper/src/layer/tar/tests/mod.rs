//! Archives made by hand, byte by byte, so that they can be wrong in every way.

pub mod builder;
mod gnu;
mod headers;
pub mod mutation;
mod paxes;
mod sparse;
mod tools;
mod writing;

use super::{Entry, Reader};
use crate::error::Result;

/// Every entry with its file content, holes filled in.
pub fn read_all(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.data(&mut |offset, bytes| {
            content.resize(offset as usize, 0);
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        if entry.size < 1 << 30 {
            content.resize(entry.size as usize, 0);
        }
        entries.push((entry, content));
    }
    reader.drain()?;
    Ok(entries)
}

/// The detail of the failure, after checking its kind.
pub fn refused(archive: &[u8], kind: &str) -> String {
    let failure = read_all(archive).expect_err("the archive must be refused");
    assert_eq!(failure.kind, Some(kind), "{failure}");
    failure.detail.expect("a refusal says why")
}
