//! `fs.read`: a few files of a root file system that nobody runs in (`/etc/passwd`, `/etc/group`).

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::errno;
use crate::error::{Failure, Result, Step};
use crate::layer::base64;
use crate::run::{RootfsMount, mount_rootfs};
use crate::sys::namespace::unshare;

#[derive(Deserialize)]
pub struct Read {
    rootfs: Vec<RootfsMount>,
    paths: Vec<PathBuf>,
    /// Bytes of one file; a larger one is answered with EFBIG, not cut.
    limit: u64,
}

#[derive(Serialize)]
pub struct Files {
    files: Vec<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum File {
    Data(String),
    Errno(String),
}

/// To be called in a process of its own: the mounts are made in a namespace that ends with it.
pub fn read(args: &Read) -> Result<Files> {
    let parts: Vec<_> = args.rootfs.iter().cloned().map(read_only).collect();
    let place = match parts.last() {
        Some(RootfsMount::Overlay { lower, .. }) => lower.first(),
        Some(RootfsMount::Bind { source, .. }) => Some(source),
        None => None,
    };
    let Some(place) = place else {
        return Err(Failure::kind("decode the request", "protocol").detail("rootfs is empty"));
    };
    unshare(UnshareFlags::NEWNS).step("make a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step("make the mounts private")?;
    // Over one of its own layers, which it needs no more: so no directory has to be made.
    let root = mount_rootfs(&parts, place)?;
    let answer = |path: &PathBuf| match read_file(&root, path, args.limit) {
        Ok(bytes) => File::Data(base64::encode(&bytes)),
        Err(errno) => File::Errno(errno::name(errno)),
    };
    Ok(Files {
        files: args.paths.iter().map(answer).collect(),
    })
}

/// What is written in an upper directory shows, but a second mount must not claim it.
fn read_only(part: RootfsMount) -> RootfsMount {
    match part {
        RootfsMount::Overlay {
            lower,
            upper,
            options,
            ..
        } => RootfsMount::Overlay {
            lower: upper.into_iter().chain(lower).collect(),
            upper: None,
            work: None,
            options: options.into_iter().filter(|o| o == "userxattr").collect(),
        },
        RootfsMount::Bind { source, .. } => RootfsMount::Bind {
            source,
            readonly: true,
        },
    }
}

fn read_file(root: &OwnedFd, path: &PathBuf, limit: u64) -> rustix::io::Result<Vec<u8>> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = loop {
        match fs::openat2(root, path, flags, Mode::empty(), within) {
            Err(Errno::AGAIN) => continue, // a rename somewhere during the look-up of a `..`
            found => break found?,
        }
    };
    // Opening a device or a fifo for reading could do something, or wait; this first descriptor only points at it.
    let stat = fs::fstat(&found)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (),
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::INVAL),
    }
    if stat.st_size as u64 > limit {
        return Err(Errno::FBIG);
    }
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file = fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0; stat.st_size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::read(&file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
