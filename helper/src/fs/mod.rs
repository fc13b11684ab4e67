//! Whole trees and single files, always by descriptor: no path of a container is ever resolved by name alone.

mod copy;
mod descent;
pub mod errno;
pub mod node;
mod read;
pub mod remove;
mod sync;
#[cfg(test)]
mod tests;
mod usage;

pub use copy::{copy, copy_node};
pub use read::read;
pub use remove::remove;
pub use sync::sync;
pub use usage::usage;
