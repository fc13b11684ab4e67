//! The attributes of one file of any type, without ever following a symbolic link.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use crate::error;

/// Names of a directory's entries, without `.` and `..`.
pub type Names = Vec<CString>;

/// Where the file is: open (not by `O_PATH`), or the name of an entry in a directory.
#[derive(Clone, Copy)]
pub enum Node<'a> {
    Open(BorrowedFd<'a>),
    Entry(BorrowedFd<'a>, &'a [u8]),
}

impl Node<'_> {
    pub fn stat(self) -> Result<Stat> {
        match self {
            Node::Open(fd) => fs::fstat(fd),
            Node::Entry(dir, name) => fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    pub fn set_owner(self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Node::Open(fd) => fs::fchown(fd, uid, gid),
            Node::Entry(dir, name) => fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Not for symbolic links, which have no mode: chmod(2) would change what they point to.
    pub fn set_mode(self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match self {
            Node::Open(fd) => fs::fchmod(fd, mode),
            Node::Entry(dir, name) => {
                // fchmodat(2) follows links; a descriptor opened with O_PATH | O_NOFOLLOW is the file itself, and its
                // name in /proc leads to nothing else.
                let flags = fs::OFlags::PATH | fs::OFlags::NOFOLLOW | fs::OFlags::CLOEXEC;
                let file = fs::openat(dir, name, flags, Mode::empty())?;
                fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
            }
        }
    }

    pub fn set_times(self, accessed: Timespec, modified: Timespec) -> Result<()> {
        let times = Timestamps {
            last_access: accessed,
            last_modification: modified,
        };
        match self {
            Node::Open(fd) => fs::futimens(fd, &times),
            Node::Entry(dir, name) => fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    pub fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Node::Open(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Node::Entry(dir, entry) => {
                fs::lsetxattr(by_proc(dir, entry), name, value, XattrFlags::empty())
            }
        }
    }

    pub fn remove_xattr(self, name: &[u8]) -> Result<()> {
        match self {
            Node::Open(fd) => fs::fremovexattr(fd, name),
            Node::Entry(dir, entry) => fs::lremovexattr(by_proc(dir, entry), name),
        }
    }

    pub fn xattr(self, name: &[u8]) -> Result<Vec<u8>> {
        grow(|buffer| match self {
            Node::Open(fd) => fs::fgetxattr(fd, name, buffer),
            Node::Entry(dir, entry) => fs::lgetxattr(by_proc(dir, entry), name, buffer),
        })
    }

    /// Empty where the file system has none.
    pub fn xattr_names(self) -> Result<Vec<Vec<u8>>> {
        let list = grow(|buffer| match self {
            Node::Open(fd) => fs::flistxattr(fd, buffer),
            Node::Entry(dir, entry) => fs::llistxattr(by_proc(dir, entry), buffer),
        });
        let list = match list {
            Err(Errno::NOTSUP) => Vec::new(),
            list => list?,
        };
        let names = list.split(|b| *b == 0).filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }
}

/// The xattr calls know no `*at` form before Linux 6.13. The directory part of this name is a descriptor of ours, and
/// the last part is not followed by the `l*xattr` calls.
fn by_proc(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [
        format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(),
        name,
    ]
    .concat()
}

fn grow(mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 8, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// Reads a directory at once: what follows may change it.
pub fn names(dir: BorrowedFd<'_>) -> Result<Names> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let flags = fs::OFlags::RDONLY | fs::OFlags::DIRECTORY | fs::OFlags::CLOEXEC;
    let fd = fs::openat(dir, ".", flags, Mode::empty())?;
    let mut entries = fs::RawDir::new(fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// A directory's own entry, opened for reading; a symbolic link or a mount point is an error.
pub fn open_directory(dir: BorrowedFd<'_>, name: &[u8]) -> Result<std::os::fd::OwnedFd> {
    use fs::{OFlags, ResolveFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(dir, name, flags, Mode::empty(), within)
}

/// `open_directory`'s EXDEV: in a tree of ours that is somebody's mount, which is not ours to touch.
pub fn mounted(step: &str) -> error::Failure {
    error::Failure::kind(step, "busy")
        .errno(Errno::BUSY)
        .detail("a file system is mounted there")
}

pub fn timespec(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    }
}
