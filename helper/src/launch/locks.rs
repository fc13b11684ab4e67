//! Locks between processes: flock(2) on a file, held by the launcher until `unlock` or its death.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;

use crate::error::{Failure, Result, Step};

#[derive(Debug, Deserialize, Clone)]
pub struct LockFile {
    pub path: PathBuf,
    pub mode: LockMode,
}

#[derive(Debug, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    Shared,
    Exclusive,
}

/// The locks Node holds by number.
#[derive(Default)]
pub struct Locks {
    held: HashMap<u64, OwnedFd>,
    last: u64,
}

impl Locks {
    pub fn keep(&mut self, lock: OwnedFd) -> u64 {
        self.last += 1;
        self.held.insert(self.last, lock);
        self.last
    }

    /// For a worker: what is done under a lock goes on for a moment when the launcher is killed, and so must the lock.
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.held.values().map(AsRawFd::as_raw_fd).collect()
    }

    pub fn release(&mut self, lock: u64) -> Result<()> {
        match self.held.remove(&lock) {
            // Said, not only closed: a worker may have a copy of the descriptor, which would keep it.
            Some(file) => rustix::fs::flock(&file, FlockOperation::Unlock).step("release a lock"),
            None => {
                Err(Failure::kind("release a lock", "protocol").detail(format!("no lock {lock}")))
            }
        }
    }
}

impl LockFile {
    /// Takes the lock now, or fails with `busy`.
    pub fn try_take(&self) -> Result<OwnedFd> {
        loop {
            let file = self.open()?;
            match rustix::fs::flock(&file, self.operation(false)) {
                Ok(()) if self.is_current(&file)? => return Ok(file),
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(self.busy()),
                Err(errno) => return Err(errno).step_at("lock a file", &self.path),
            }
        }
    }

    /// Waits for the lock on a descriptor that `open` made. The lock belongs to the open file description, so a child
    /// that waits on an inherited copy takes it for its parent too.
    pub fn wait(&self, file: &OwnedFd) -> Result<()> {
        loop {
            match rustix::fs::flock(file, self.operation(true)) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).step_at("lock a file", &self.path),
            }
        }
    }

    pub fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(CWD, &self.path, flags, Mode::RUSR | Mode::WUSR)
            .step_at("open a lock file", &self.path)
    }

    /// False when the file was removed or replaced while it was being locked: such a lock excludes nobody.
    pub fn is_current(&self, file: &OwnedFd) -> Result<bool> {
        let held = rustix::fs::fstat(file).step_at("inspect a lock file", &self.path)?;
        match rustix::fs::lstat(&self.path) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).step_at("inspect a lock file", &self.path),
        }
    }

    pub fn busy(&self) -> Failure {
        Failure::kind("lock a file", "busy").path(&self.path)
    }

    fn operation(&self, block: bool) -> FlockOperation {
        match (self.mode, block) {
            (LockMode::Shared, true) => FlockOperation::LockShared,
            (LockMode::Exclusive, true) => FlockOperation::LockExclusive,
            (LockMode::Shared, false) => FlockOperation::NonBlockingLockShared,
            (LockMode::Exclusive, false) => FlockOperation::NonBlockingLockExclusive,
        }
    }
}
