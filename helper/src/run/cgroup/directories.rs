//! Making the directories of cgroups, with their ancestors in a state in which limits can be set.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::{Write, read, write};
use crate::error::{Failure, Result, Step};

const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const MODE: Mode = Mode::from_raw_mode(0o755);

/// Controllers worth having on: for limits, and for what is reported of a container.
const WANTED: [&str; 7] = ["cpuset", "cpu", "io", "memory", "pids", "hugetlb", "rdma"];

/// Needed even without a limit: it tells of an OOM kill.
const REPORTED: &str = "memory";

/// Makes a v2 cgroup in which every file of `writes` exists.
pub fn make_v2(directory: &Path, writes: &[Write]) -> Result<()> {
    let needed: BTreeSet<&str> = writes
        .iter()
        .filter_map(|write| write.ways[0].0.split('.').next())
        .collect();
    let parent = directory.parent().unwrap_or(directory);
    // The usual case: a sibling has been made before, so the parent is there and ready.
    let ready = read(parent, "cgroup.subtree_control").is_ok_and(|on| {
        needed.iter().all(|name| has(&on, name))
            && (has(&on, REPORTED) || !is_available(parent, REPORTED))
    });
    if !ready {
        make_parents_v2(parent)?;
    }
    make(directory)?;
    if !ready {
        let on =
            read(directory, "cgroup.controllers").step_at("read cgroup.controllers", directory)?;
        let missing: Vec<_> = needed.into_iter().filter(|name| !has(&on, name)).collect();
        if !missing.is_empty() {
            return Err(
                Failure::kind("enable cgroup controllers", "limit-unsupported")
                    .path(parent)
                    .detail(missing.join(" ")),
            );
        }
    }
    Ok(())
}

/// Makes a v1 cgroup. A new cpuset has no processors, and nothing may join it until it has: it gets its parent's.
pub fn make_v1(controller: &str, directory: &Path) -> Result<()> {
    if controller.split(',').any(|name| name == "cpuset") {
        return make_cpuset(directory);
    }
    match rustix::fs::mkdir(directory, MODE) {
        Err(Errno::NOENT) => std::fs::create_dir_all(directory).step_at("make a cgroup", directory),
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step_at("make a cgroup", directory),
    }
}

fn make_cpuset(directory: &Path) -> Result<()> {
    match rustix::fs::mkdir(directory, MODE) {
        Err(Errno::NOENT) => {
            make_cpuset(parent(directory)?)?;
            make(directory)?;
        }
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).step_at("make a cgroup", directory),
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = read(directory, file).step_at(format!("read {file}"), directory)?;
        if own.trim().is_empty() {
            let inherited =
                read(parent(directory)?, file).step_at(format!("read {file}"), directory)?;
            write(directory, file, inherited.trim())?;
        }
    }
    Ok(())
}

/// Makes the ancestors and turns controllers on in each, from the top. Where this process may not (above what is
/// delegated to it, or in a cgroup that holds processes) they stay as they are; the caller sees what came of it.
fn make_parents_v2(directory: &Path) -> Result<()> {
    let is_root =
        rustix::fs::statfs(parent(directory)?).is_ok_and(|fs| fs.f_type != CGROUP2_SUPER_MAGIC);
    if !is_root {
        make_parents_v2(parent(directory)?)?;
        make(directory)?;
    }
    let available =
        read(directory, "cgroup.controllers").step_at("read cgroup.controllers", directory)?;
    let on = read(directory, "cgroup.subtree_control").unwrap_or_default();
    for controller in available
        .split_whitespace()
        .filter(|name| WANTED.contains(name))
    {
        if !has(&on, controller) {
            let _ = write(
                directory,
                "cgroup.subtree_control",
                &format!("+{controller}"),
            );
        }
    }
    Ok(())
}

fn is_available(directory: &Path, controller: &str) -> bool {
    read(directory, "cgroup.controllers").is_ok_and(|available| has(&available, controller))
}

/// Whether a file that lists controllers has this one.
fn has(list: &str, controller: &str) -> bool {
    list.split_whitespace().any(|word| word == controller)
}

fn make(directory: &Path) -> Result<()> {
    match rustix::fs::mkdir(directory, MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step_at("make a cgroup", directory),
    }
}

fn parent(directory: &Path) -> Result<&Path> {
    directory
        .parent()
        .ok_or_else(|| Failure::kind("make a cgroup", "config-invalid").path(directory))
}
