//! Owner, mode, extended attributes and times of an entry.

use rustix::fs::Timespec;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::tar::{Entry, Kind, invalid};
use crate::error::{Failure, Result, Step};
use crate::fs::node::{Node, timespec};

/// What becomes of owners that the user namespace has no id for.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// They are an error.
    #[default]
    Keep,
    /// They become root.
    Squash,
}

/// What was left out, by count.
#[derive(Serialize, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Device nodes, with `devices: "skip"`, and 0/0 devices, which overlay would take for whiteouts.
    pub devices: u64,
    /// Extended attributes that a layer may not set, or that the target cannot hold.
    pub xattrs: u64,
    /// Owners that became root.
    pub owners: u64,
}

/// In this order: a change of owner takes away set-id bits and `security.capability`.
pub fn set(node: Node<'_>, entry: &Entry, owners: Owners, skipped: &mut Skipped) -> Result<()> {
    set_owner(node, entry, owners, skipped)?;
    if !matches!(entry.kind, Kind::Symlink(_)) {
        node.set_mode(entry.mode).step("set the mode")?;
    }
    for (name, value) in &entry.xattrs {
        set_xattr(node, name, value, skipped)?;
    }
    Ok(())
}

pub fn times(entry: &Entry) -> (Timespec, Timespec) {
    let modified = timespec(entry.mtime.seconds, i64::from(entry.mtime.nanoseconds));
    (modified, modified)
}

fn set_owner(node: Node<'_>, entry: &Entry, owners: Owners, skipped: &mut Skipped) -> Result<()> {
    const STEP: &str = "set the owner";
    let (uid, gid) = (entry.uid, entry.gid);
    match node.set_owner(Some(uid), Some(gid)) {
        Err(Errno::INVAL) if owners == Owners::Squash => {
            skipped.owners += 1;
            for (uid, gid) in [(Some(uid), None), (None, Some(gid))] {
                match node.set_owner(uid, gid) {
                    Err(Errno::INVAL) => node.set_owner(uid.and(Some(0)), gid.and(Some(0))),
                    outcome => outcome,
                }
                .step(STEP)?;
            }
            Ok(())
        }
        Err(Errno::INVAL) => Err(Failure::kind(STEP, "id-unmapped")
            .errno(Errno::INVAL)
            .detail(format!(
                "user {uid} or group {gid} has no id in this user namespace"
            ))),
        outcome => outcome.step(STEP),
    }
}

/// Attributes by which a file could pretend to be overlay's own (a redirect shows another directory's files), and those
/// that speak for the host's policy and not for the image, are dropped.
pub fn is_allowed(name: &[u8]) -> bool {
    let refused: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
    let host = name.starts_with(b"security.") && name != b"security.capability";
    !host && !refused.iter().any(|prefix| name.starts_with(prefix))
}

fn set_xattr(node: Node<'_>, name: &[u8], value: &[u8], skipped: &mut Skipped) -> Result<()> {
    if !is_allowed(name) {
        skipped.xattrs += 1;
        return Ok(());
    }
    match node.set_xattr(name, value) {
        // The file system has no such attributes, this type of file cannot have them, or they need rights over the
        // whole host (`trusted.*` in a user namespace).
        Err(Errno::NOTSUP | Errno::PERM) => {
            skipped.xattrs += 1;
            Ok(())
        }
        Err(Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {
            let name = String::from_utf8_lossy(name);
            Err(invalid(format!(
                "the extended attribute {name} is malformed"
            )))
        }
        // Some file systems have a few kilobytes for all attributes of a file, and call more "no space".
        outcome => outcome
            .step("set an extended attribute")
            .map_err(|failure| {
                let (name, length) = (String::from_utf8_lossy(name), value.len());
                failure.detail(format!("{name} of {length} bytes"))
            }),
    }
}
