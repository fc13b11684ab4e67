//! Whole trees and single files, always by descriptor: no path of a container is ever resolved by name alone.

pub mod bytes;
pub mod copy;
pub mod descent;
pub mod errno;
pub mod facts;
pub mod node;
mod populate;
mod read;
pub mod remove;
pub mod root;
pub mod stream;
mod sync;
#[cfg(test)]
mod tests;
mod usage;
mod write;

pub use copy::{copy, copy_node};
pub use populate::populate;
pub use read::{list, open, read, stat};
pub use remove::remove;
pub use sync::sync;
pub use usage::usage;
pub use write::{make_directories, mkdir, remove_in_root, write};
