//! The freezer: v2's, which every cgroup has, else v1's.

use std::path::{Path, PathBuf};

use super::{read, write};
use crate::error::{Failure, Result, Step};

const V2: &str = "cgroup.freeze";
const V1: &str = "freezer.state";

pub fn freeze(directories: &[PathBuf], frozen: bool) -> Result<()> {
    match find(directories)? {
        (directory, V2) => write(directory, V2, if frozen { "1" } else { "0" }),
        (directory, _) => write(directory, V1, if frozen { "FROZEN" } else { "THAWED" }),
    }
}

/// Whether everything in it stands still. v1 must be asked again and again: it tries each time.
pub fn is_frozen(directories: &[PathBuf]) -> Result<bool> {
    let (directory, file) = find(directories)?;
    let file = match file {
        V2 => "cgroup.events",
        _ => V1,
    };
    let text = read(directory, file).step_at(format!("read {file}"), directory)?;
    Ok(text
        .lines()
        .any(|line| line == "frozen 1" || line == "FROZEN"))
}

fn find(directories: &[PathBuf]) -> Result<(&Path, &'static str)> {
    let found = [V2, V1].into_iter().find_map(|file| {
        let has = |directory: &&PathBuf| directory.join(file).exists();
        Some((directories.iter().find(has)?.as_path(), file))
    });
    found.ok_or_else(|| {
        Failure::kind("freeze the container", "limit-unsupported").detail("no cgroup for freezer")
    })
}
