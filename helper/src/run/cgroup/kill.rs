//! Killing everything in a cgroup, however fast it forks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::{read, write};

/// Sends SIGKILL to every process in these cgroups and below. Does not wait for them to end.
pub fn kill_all(directories: &[PathBuf]) {
    // The kernel does it at once (Linux 5.14), and what is being forked meanwhile does not escape.
    let by_kernel = directories
        .iter()
        .any(|directory| write(directory, "cgroup.kill", "1").is_ok());
    if by_kernel {
        // v2 lets what it has frozen die; v1, beside it on a hybrid host, does not.
        freeze(directories, false);
        return;
    }
    // Frozen, nothing forks any more, and no number is given to somebody else between reading and killing.
    freeze(directories, true);
    for directory in directories {
        kill_tree(directory);
    }
    freeze(directories, false);
}

/// Every process in these cgroups and below, by number.
pub fn processes(directories: &[PathBuf]) -> Vec<i32> {
    fn collect(directory: &Path, found: &mut BTreeSet<i32>) {
        found.extend(
            own_processes(directory)
                .iter()
                .map(|pid| pid.as_raw_nonzero().get()),
        );
        for child in children(directory) {
            collect(&child, found);
        }
    }
    let mut found = BTreeSet::new();
    for directory in directories {
        collect(directory, &mut found);
    }
    found.into_iter().collect()
}

pub fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn kill_tree(directory: &Path) {
    for pid in own_processes(directory) {
        let _: Result<(), Errno> = rustix::process::kill_process(pid, Signal::KILL);
    }
    for child in children(directory) {
        kill_tree(&child);
    }
}

fn own_processes(directory: &Path) -> Vec<Pid> {
    let text = read(directory, "cgroup.procs").unwrap_or_default();
    text.lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect()
}

/// v2 and v1 have different files for it; a hierarchy without the freezer has neither.
fn freeze(directories: &[PathBuf], frozen: bool) {
    for directory in directories {
        let _ = write(directory, "cgroup.freeze", if frozen { "1" } else { "0" });
        let _ = write(
            directory,
            "freezer.state",
            if frozen { "FROZEN" } else { "THAWED" },
        );
    }
}
