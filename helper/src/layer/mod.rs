//! Applying image layers: an archive from a registry, which nobody vouches for, becomes files below one directory.

mod apply;
mod attributes;
mod chunks;
mod decompress;
mod inherit;
mod merged;
mod path;
mod record;
mod source;
mod tar;
mod target;
#[cfg(test)]
mod tests;
mod whiteout;
mod write;

pub use apply::apply;
pub use inherit::inherit;
pub use tar::base64;
