//! Reading tar archives: ustar, PAX and GNU, from a stream that is never trusted.
//!
//! Nothing in here touches the file system, so that it can be tested and fuzzed alone.

pub mod base64;
mod fault;
mod header;
mod number;
pub mod pax;
mod reader;
mod sparse;
mod stream;
#[cfg(test)]
pub mod tests;
pub mod writer;

pub use fault::{invalid, limit};
pub use reader::{Entry, Kind, Reader};
pub use stream::Stream;

/// A moment with the precision of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    pub seconds: i64,
    /// Always counts forward from `seconds`, also before 1970.
    pub nanoseconds: u32,
}
