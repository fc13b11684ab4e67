//! What an entry's name means in a layer (OCI image specification, "Image Layer Filesystem Changeset").

use super::tar::{invalid, limit};
use crate::error::Result;

/// The kernel's own limit on a path.
const MAX_PATH: usize = 4096;

const WHITEOUT: &[u8] = b".wh.";
/// No file of a layer has this name, so that it can also stand for "the root is opaque" among names.
pub const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS kept its bookkeeping under such names.
const AUFS: &[u8] = b".wh..wh.";

/// Paths are relative to the layer's root, `/` between components, empty for the root itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Name<'a> {
    Root,
    Entry {
        parent: Vec<u8>,
        name: &'a [u8],
    },
    /// `name` of the layers below is gone.
    Whiteout {
        parent: Vec<u8>,
        name: &'a [u8],
    },
    /// Nothing of the layers below shows in `parent`.
    Opaque {
        parent: Vec<u8>,
    },
    /// Not a file of the image.
    Bookkeeping,
}

pub fn classify(path: &[u8]) -> Result<Name<'_>> {
    let mut components = components(path)?;
    let Some(name) = components.pop() else {
        return Ok(Name::Root);
    };
    for (index, component) in components.iter().chain([&name]).enumerate() {
        let last = index == components.len();
        if component.starts_with(AUFS) && !(last && *component == OPAQUE) {
            return Ok(Name::Bookkeeping);
        }
        if component.starts_with(WHITEOUT) && !last {
            return Err(invalid("a directory has the name of a whiteout"));
        }
    }
    let parent = components.join(&b'/');
    if name == OPAQUE {
        return Ok(Name::Opaque { parent });
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Name::Entry { parent, name }),
        Some(b"" | b"." | b"..") => Err(invalid("a whiteout names no file")),
        Some(name) => Ok(Name::Whiteout { parent, name }),
    }
}

/// A name's directory and last component, whatever it looks like; `None` for the root.
pub fn plain(path: &[u8]) -> Result<Option<(Vec<u8>, &[u8])>> {
    let mut components = components(path)?;
    Ok(components.pop().map(|name| (components.join(&b'/'), name)))
}

/// A hard link's target: the directory it is in, and its name there.
pub fn link_target(path: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut components = components(path)?;
    match components.pop() {
        Some(name) => Ok((components.join(&b'/'), name)),
        None => Err(invalid("a hard link names no file")),
    }
}

/// An absolute name means the same relative to the root. `..` has no honest use in a layer, and what it would mean depends
/// on symbolic links.
fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.len() > MAX_PATH {
        return Err(limit("a path is longer than 4,096 bytes"));
    }
    let components = path.split(|byte| *byte == b'/');
    let components: Vec<_> = components.filter(|c| !matches!(*c, b"" | b".")).collect();
    match components.contains(&&b".."[..]) {
        true => Err(invalid("a path contains '..'")),
        false => Ok(components),
    }
}

/// `parent/name`, where the parent may be the root.
pub fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match parent {
        b"" => name.to_vec(),
        parent => [parent, b"/", name].concat(),
    }
}

/// The path's directory and last component; `None` for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => None,
        None => Some((b"", path)),
    }
}

/// Refuses a place that no path can name.
pub fn check_length(parent: &[u8], name: &[u8]) -> Result<()> {
    match parent.len() + 1 + name.len() > MAX_PATH {
        true => Err(limit("a path is longer than 4,096 bytes")),
        false => Ok(()),
    }
}

/// Components, last first.
pub fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let components = path.split(|byte| *byte == b'/');
    let named = components.filter(|c| !matches!(*c, b"" | b"."));
    named.rev().map(<[u8]>::to_vec).collect()
}
