//! Going down a tree and up again, however deep it is.
//!
//! A path would be too long for the kernel at some depth, and a descriptor for every level too many. So the deepest
//! levels are kept open, and a level above them is found again as the parent of the one beneath it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, Result};

const KEPT_OPEN: usize = 64;

/// The way from a tree's root to one of its directories.
pub struct Descent<T> {
    levels: Vec<Level<T>>,
}

struct Level<T> {
    name: CString,
    fd: Option<OwnedFd>,
    identity: (u64, u64),
    state: T,
}

impl<T> Descent<T> {
    pub fn new() -> Self {
        Descent { levels: Vec::new() }
    }

    pub fn push(&mut self, name: CString, fd: OwnedFd, state: T) -> Result<()> {
        let identity = identity(fd.as_fd())?;
        if let Some(far) = self.levels.len().checked_sub(KEPT_OPEN) {
            self.levels[far].fd = None;
        }
        self.levels.push(Level {
            name,
            fd: Some(fd),
            identity,
            state,
        });
        Ok(())
    }

    /// Leaves the present directory; its name and state.
    pub fn pop(&mut self) -> Result<Option<(CString, T)>> {
        let Some(level) = self.levels.pop() else {
            return Ok(None);
        };
        match (self.levels.last_mut(), &level.fd) {
            (Some(above), Some(below)) if above.fd.is_none() => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = fs::openat(below, "..", flags, Mode::empty())?;
                // Somebody moved the directory: its parent is not where we came from.
                if identity(fd.as_fd())? != above.identity {
                    return Err(Errno::STALE);
                }
                above.fd = Some(fd);
            }
            _ => (),
        }
        Ok(Some((level.name, level.state)))
    }

    /// The present directory, which is always open, and its state.
    pub fn current(&mut self) -> Option<(BorrowedFd<'_>, &mut T)> {
        let level = self.levels.last_mut()?;
        Some((level.fd.as_ref()?.as_fd(), &mut level.state))
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// For messages, and for names relative to the root: that of `entry` in the present directory.
    pub fn path(&self, entry: &CStr) -> Vec<u8> {
        let mut path = Vec::new();
        for level in self.levels.iter().skip(1) {
            path.extend_from_slice(level.name.as_bytes());
            path.push(b'/');
        }
        path.extend_from_slice(entry.to_bytes());
        path
    }
}

fn identity(fd: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}
