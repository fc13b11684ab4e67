//! `cgroup.remove`, and the end of every container's cgroups.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::kill::{children, kill_all};
use crate::error::{Failure, Result, Step};

/// A killed process leaves its cgroup when the kernel has taken it apart; how long may that take?
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Kills what is in them and removes them with their children. It may take a while: for a worker, not the launcher.
/// Every one is tried; missing is fine.
pub fn remove_all(directories: &[PathBuf]) -> Vec<Failure> {
    directories
        .iter()
        .filter_map(|directory| remove(directory, directories).err())
        .collect()
}

fn remove(directory: &Path, all: &[PathBuf]) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    let mut waited = Duration::ZERO;
    loop {
        match remove_tree(directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Processes that live, or that are still on their way out. v1 has no event to wait for.
            Err(Errno::BUSY) if waited < PATIENCE => {
                kill_all(all);
                std::thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(errno) => return Err(errno).step_at("remove a cgroup", directory),
        }
    }
}

fn remove_tree(directory: &Path) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(CWD, directory, AtFlags::REMOVEDIR) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        done => return done,
    }
    for child in children(directory) {
        remove_tree(&child)?;
    }
    rustix::fs::unlinkat(CWD, directory, AtFlags::REMOVEDIR)
}
