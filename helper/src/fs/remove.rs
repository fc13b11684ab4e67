//! `tree.remove`: deletes trees by descriptor. A symbolic link is deleted, never followed; a mount point is an error.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;

use super::descent::Descent;
use super::node::{self, Names};
use crate::error::{Failure, Result, Step};

const STEP: &str = "remove a tree";

#[derive(Deserialize)]
pub struct Remove {
    paths: Vec<PathBuf>,
}

/// Goes on after a failure and reports the first one.
pub fn remove(args: &Remove) -> Result<serde_json::Value> {
    let mut outcome = Ok(());
    for path in &args.paths {
        outcome = outcome.and(remove_path(path));
    }
    outcome.map(|()| serde_json::json!({}))
}

pub fn remove_path(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::new(STEP).errno(Errno::INVAL).path(path));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_at(parent.as_fd(), name.as_bytes(), path),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(errno) => Err(errno).step_at(STEP, parent),
    }
}

/// Removes the entry `name` of `parent`; `shown` is its path for messages. Missing is fine.
pub fn remove_at(parent: BorrowedFd<'_>, name: &[u8], shown: &Path) -> Result<()> {
    if unlink(parent, name, AtFlags::empty()).step_at(STEP, shown)? {
        return Ok(());
    }
    let name =
        CString::new(name).map_err(|_| Failure::new(STEP).errno(Errno::INVAL).path(shown))?;
    let mut way: Descent<Names> = Descent::new();
    enter(&mut way, parent, name, shown)?;
    loop {
        let Some((dir, names)) = way.current() else {
            return Ok(());
        };
        if let Some(name) = names.pop() {
            match unlink(dir, name.as_bytes(), AtFlags::empty()) {
                Ok(true) => continue,
                Ok(false) => {
                    let dir = dir.try_clone_to_owned().step(STEP)?;
                    enter(&mut way, dir.as_fd(), name, shown)?;
                }
                Err(errno) => return Err(failure(errno).path(place(&way, &name, shown))),
            }
            continue;
        }
        // Emptied, unless somebody is still adding to it: then what is new goes as well.
        let (name, _) = match way.pop().step_at(STEP, shown)? {
            Some(level) => level,
            None => return Ok(()),
        };
        let above = match way.current() {
            Some((dir, _)) => dir,
            None => parent,
        };
        match unlink(above, name.as_bytes(), AtFlags::REMOVEDIR) {
            Ok(_) => (),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let above = above.try_clone_to_owned().step(STEP)?;
                enter(&mut way, above.as_fd(), name, shown)?;
            }
            Err(errno) => return Err(failure(errno).path(place(&way, &name, shown))),
        }
    }
}

/// False when it is a directory, which needs more.
fn unlink(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> rustix::io::Result<bool> {
    let unlink = || match fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) if flags.is_empty() => Ok(false),
        Err(errno) => Err(errno),
    };
    match unlink() {
        // Without root's rights a directory of our own may forbid us to change it.
        Err(Errno::ACCESS) if open_up(dir).is_ok() => unlink(),
        outcome => outcome,
    }
}

fn enter(way: &mut Descent<Names>, dir: BorrowedFd<'_>, name: CString, shown: &Path) -> Result<()> {
    let opened = match node::open_directory(dir, name.as_bytes()) {
        Err(Errno::ACCESS) => open_up_entry(dir, name.as_bytes())
            .and_then(|()| node::open_directory(dir, name.as_bytes())),
        opened => opened,
    };
    let path = || place(way, &name, shown);
    let fd: OwnedFd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::XDEV) => return Err(node::mounted(STEP).path(path())),
        Err(errno) => return Err(failure(errno).path(path())),
    };
    let names = match node::names(fd.as_fd()) {
        // Somebody else removes the same: what has no name any more has no entries.
        Err(Errno::NOENT) => return Ok(()),
        names => names.step_at(STEP, path())?,
    };
    way.push(name, fd, names).step_at(STEP, shown)
}

fn open_up(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // The descriptor may be O_PATH, which fchmod(2) refuses.
    fs::chmod(
        format!("/proc/self/fd/{}", dir.as_raw_fd()),
        Mode::from_raw_mode(0o700),
    )
}

fn open_up_entry(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entry = match fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(dir)?;
            fs::openat(dir, name, flags, Mode::empty())?
        }
        entry => entry?,
    };
    open_up(entry.as_fd())
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::BUSY => node::mounted(STEP),
        errno => Failure::new(STEP).errno(errno),
    }
}

/// The path of `name` in the present directory; on the outside, that is the tree itself.
fn place(way: &Descent<Names>, name: &CString, shown: &Path) -> PathBuf {
    match way.is_empty() {
        true => shown.to_path_buf(),
        false => shown.join(String::from_utf8_lossy(&way.path(name)).as_ref()),
    }
}
