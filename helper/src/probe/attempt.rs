//! One attempt, in a process of its own; and a place on disk for it.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitOptions, waitpid};
use serde::Serialize;

use crate::error::{Result, Step};
use crate::fs::errno;
use crate::fs::remove::remove_path;
use crate::sys::process::{clone, exit};

#[derive(Serialize, Debug)]
pub struct Fact {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
}

impl Fact {
    pub fn of(outcome: rustix::io::Result<()>) -> Self {
        Fact {
            ok: outcome.is_ok(),
            errno: outcome.err().map(errno::name),
        }
    }
}

/// Does it in a child, whose namespaces and mounts end with it.
pub fn attempt(act: impl FnOnce() -> rustix::io::Result<()>) -> Result<Fact> {
    // An errno fits into an exit status.
    let (pid, _) = clone(0, None, || exit(act().err().map_or(0, Errno::raw_os_error)))
        .step("fork an attempt")?;
    let status = waitpid(Some(pid), WaitOptions::empty()).step("wait for an attempt")?;
    let code = status.and_then(|(_, status)| status.exit_status());
    Ok(Fact::of(match code {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(errno)),
        // Killed: by a seccomp filter around us, for instance.
        None => Err(Errno::PERM),
    }))
}

/// A directory that goes away with the value. One that a killed probe left is removed by the next probe.
pub struct Scratch {
    pub path: PathBuf,
    /// Locked as long as it is in use.
    pub fd: OwnedFd,
}

const PREFIX: &str = ".probe-";

impl Scratch {
    pub fn make(directory: &Path) -> Result<Self> {
        remove_abandoned(directory)?;
        let mut number = 0;
        loop {
            let path = directory.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match claim(&path) {
                Ok(fd) => return Ok(Scratch { path, fd }),
                // Another one's with our process id (in another namespace), or taken for abandoned before it was locked.
                Err(Errno::EXIST | Errno::AGAIN | Errno::NOENT | Errno::STALE) if number < 100 => {
                    number += 1
                }
                Err(errno) => return Err(errno).step_at("make a directory for probing", path),
            }
        }
    }
}

fn claim(path: &Path) -> rustix::io::Result<OwnedFd> {
    fs::mkdir(path, Mode::RWXU)?;
    let fd = open(path)?;
    fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    match fs::fstat(&fd)?.st_nlink {
        0 => Err(Errno::STALE),
        _ => Ok(fd),
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_path(&self.path); // else the next probe does it
    }
}

fn remove_abandoned(directory: &Path) -> Result<()> {
    let listed = std::fs::read_dir(directory).step_at("list the probed directory", directory)?;
    for entry in listed.flatten() {
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let free = open(&entry.path()).and_then(|fd| {
            fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
            Ok(fd)
        });
        if free.is_ok() {
            remove_path(&entry.path())?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty())
}
