//! Applying image layers: an archive from a registry, which nobody vouches for, becomes files below one directory.

mod apply;
mod attributes;
mod changes;
mod chunks;
mod commit;
mod create;
mod decompress;
mod extract;
mod inherit;
mod merged;
mod pack;
mod path;
mod record;
mod sink;
mod source;
mod tar;
mod target;
#[cfg(test)]
mod tests;
mod whiteout;
mod write;

pub use apply::apply;
pub use changes::diff;
pub use commit::commit;
pub use create::create;
pub use extract::extract;
pub use inherit::inherit;
pub use tar::base64;
