//! What stat(2) says, for the wire; and lists, which can be longer than a frame.

use std::io::Write;
use std::os::fd::BorrowedFd;

use rustix::fs::{self, FileType, Stat, major, minor};
use serde::Serialize;
use serde_json::{Value, json};

use super::bytes::Bytes;
use super::root::kind;
use super::stream::Outlet;
use crate::error::{Result, Step};

#[derive(Serialize, Debug)]
pub struct Facts {
    #[serde(rename = "type")]
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    nlink: u64,
    ino: u64,
    dev: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    blocks: u64,
    /// Seconds and nanoseconds.
    atime: [i64; 2],
    mtime: [i64; 2],
    ctime: [i64; 2],
    /// Where a symbolic link points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Bytes>,
}

impl Facts {
    #[allow(clippy::unnecessary_cast)] // the widths differ between architectures
    pub fn new(stat: &Stat, link: Option<Vec<u8>>) -> Facts {
        let device = matches!(
            kind(stat),
            FileType::CharacterDevice | FileType::BlockDevice
        );
        Facts {
            kind: type_name(kind(stat)),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            nlink: stat.st_nlink as u64,
            ino: stat.st_ino,
            dev: stat.st_dev,
            device: device.then(|| [major(stat.st_rdev), minor(stat.st_rdev)]),
            blocks: stat.st_blocks as u64,
            atime: [stat.st_atime, stat.st_atime_nsec as i64],
            mtime: [stat.st_mtime, stat.st_mtime_nsec as i64],
            ctime: [stat.st_ctime, stat.st_ctime_nsec as i64],
            link: link.map(Bytes),
        }
    }

    /// Of a file opened by `O_PATH`.
    pub fn of(file: BorrowedFd<'_>) -> rustix::io::Result<Facts> {
        let stat = fs::fstat(file)?;
        let link = match kind(&stat) {
            FileType::Symlink => Some(fs::readlinkat(file, "", Vec::new())?.into_bytes()),
            _ => None,
        };
        Ok(Facts::new(&stat, link))
    }
}

pub fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::CharacterDevice => "character",
        FileType::BlockDevice => "block",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        _ => "unknown",
    }
}

/// Half of what a frame holds: an answer has other fields, too.
const IN_AN_ANSWER: usize = 8 << 20;

/// A list as part of the answer, or, where it is too long for that, as JSON text over a pipe.
pub fn deliver<T: Serialize>(list: &[T], progress: &mut dyn FnMut(Value)) -> Result<Value> {
    let text = serde_json::to_vec(list)
        .map_err(std::io::Error::from)
        .step("write a list")?;
    if text.len() <= IN_AN_ANSWER {
        return Ok(json!({ "entries": list }));
    }
    let mut outlet = Outlet::offer(progress)?;
    outlet.write_all(&text).step("write a list")?;
    Ok(json!({ "entries": null }))
}
