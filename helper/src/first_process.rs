//! A container's first process, named from outside of it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;

use crate::error::{Failure, Result, Step};

/// Its number, and its parent's: so a number that was used again is noticed.
#[derive(Deserialize, Debug, Clone, Copy)]
pub struct FirstProcess {
    pub pid: i32,
    pub parent: i32,
}

impl FirstProcess {
    /// `not-running` when it has ended.
    pub fn open(self) -> Result<OwnedFd> {
        let number = Pid::from_raw(self.pid).ok_or_else(gone)?;
        let process = match pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Err(gone()),
            process => process.step("open the container's process")?,
        };
        if parent_of(&self.proc("stat")) != Some(self.parent) {
            return Err(gone());
        }
        self.must_live(&process)?;
        Ok(process)
    }

    /// What was read of it in /proc by its number was this process's, as long as it has not ended meanwhile.
    pub fn must_live(self, process: &OwnedFd) -> Result<()> {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut ended, Some(&at_once)).step("look at the container's process")? {
            0 => Ok(()),
            _ => Err(gone()),
        }
    }

    pub fn proc(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }
}

pub fn gone() -> Failure {
    Failure::kind("find the container's process", "not-running")
}

/// The fourth field of stat(5); the second one, the program's name, may hold anything, parentheses included.
fn parent_of(stat: &Path) -> Option<i32> {
    let text = std::fs::read(stat).ok()?;
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&text[end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}
