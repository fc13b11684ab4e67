//! `volume.populate`: what an image has at the place where a volume is mounted becomes the volume's first content.
//!
//! The copy is made beside the data, and moved in when it is whole: whoever finds half of one after a crash begins anew,
//! whoever finds a whole one goes on with the moving. The directory of the data stays the same, for others have it mounted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::copy::{attributes, copy_directory};
use super::node::{self, Node};
use super::remove::remove_at;
use super::root::{Access, Place, Root, reopen};
use crate::error::{Result, Step};
use crate::run::RootfsMount;

const STEP: &str = "populate a volume";
const DATA: &str = "data";
const FILLING: &str = "filling";
const FILLED: &str = "filled";
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

#[derive(Deserialize)]
pub struct Populate {
    /// Of the image.
    rootfs: Vec<RootfsMount>,
    path: Bytes,
    /// Of the volume, with `data` in it. The caller keeps others from doing the same.
    directory: PathBuf,
    /// It is to be there after a power cut, too.
    #[serde(default)]
    durable: bool,
}

#[derive(Serialize, Debug)]
pub struct Populated {
    populated: bool,
}

/// To be called in a process of its own.
pub fn populate(args: &Populate) -> Result<Populated> {
    let volume =
        fs::open(&args.directory, DIRECTORY, Mode::empty()).step_at(STEP, &args.directory)?;
    let data = open(volume.as_fd(), DATA).step(STEP)?;
    if let Ok(filled) = open(volume.as_fd(), FILLED) {
        move_in(args, volume.as_fd(), &filled, &data)?;
        return Ok(Populated { populated: true });
    }
    if !node::names(data.as_fd()).step(STEP)?.is_empty() {
        return Ok(Populated { populated: false });
    }
    let place = Place::Stored {
        rootfs: args.rootfs.clone(),
        binds: Vec::new(),
    };
    let Some(source) = source(&Root::open(&place, Access::Read)?, &args.path.0)? else {
        return Ok(Populated { populated: false });
    };
    remove_at(volume.as_fd(), FILLING.as_bytes(), &args.directory)?;
    fs::mkdirat(&volume, FILLING, Mode::RWXU).step(STEP)?;
    copy_directory(source, open(volume.as_fd(), FILLING).step(STEP)?)?;
    if args.durable {
        fs::syncfs(&volume).step(STEP)?;
    }
    fs::renameat(&volume, FILLING, &volume, FILLED).step(STEP)?;
    let filled = open(volume.as_fd(), FILLED).step(STEP)?;
    move_in(args, volume.as_fd(), &filled, &data)?;
    Ok(Populated { populated: true })
}

/// The directory of the image; links on the way are followed inside of it. Nothing where it has none.
fn source(root: &Root, path: &[u8]) -> Result<Option<OwnedFd>> {
    match root
        .find(path, true)
        .and_then(|found| reopen(found.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY))
    {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno).step(STEP),
    }
}

fn move_in(
    args: &Populate,
    volume: BorrowedFd<'_>,
    filled: &OwnedFd,
    data: &OwnedFd,
) -> Result<()> {
    for name in node::names(filled.as_fd()).step(STEP)? {
        match fs::renameat_with(filled, &name, data, &name, RenameFlags::NOREPLACE) {
            // A container that has the volume already was quicker.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step(STEP),
        }
    }
    let stat = fs::fstat(filled).step(STEP)?;
    attributes(Node::Open(filled.as_fd()), Node::Open(data.as_fd()), &stat)?;
    remove_at(volume, FILLED.as_bytes(), &args.directory)
}

fn open(volume: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    fs::openat(volume, name, DIRECTORY, Mode::empty())
}
