//! The directory of a run on the host: its mount point, and the files that are bound into the container.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::config::BundleFile;
use crate::error::{Failure, Result, Step};

const STEP: &str = "write a file of the run";

/// Makes the directory and the mount point in it, where they are missing.
pub fn make(bundle: &Path, root: &Path) -> Result<()> {
    for directory in [bundle, root] {
        match rustix::fs::mkdir(directory, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step_at("make the directory of the run", directory),
        }
    }
    Ok(())
}

/// Writes the files. Every user of the container reads them, and their owner in it is root: on the host, `owner`.
pub fn write(bundle: &Path, files: &[BundleFile], owner: (Uid, Gid)) -> Result<()> {
    for BundleFile { name, text } in files {
        let path = bundle.join(name);
        let file = open(&path, OFlags::CREATE | OFlags::EXCL)?;
        if owner != (Uid::ROOT, Gid::ROOT) {
            rustix::fs::fchown(&file, Some(owner.0), Some(owner.1)).step_at(STEP, &path)?;
        }
        fill(&file, text, &path)?;
    }
    Ok(())
}

/// Writes files that are there, and in the container, anew.
pub fn rewrite(bundle: &Path, files: &[BundleFile]) -> Result<()> {
    for BundleFile { name, text } in files {
        let path = bundle.join(name);
        fill(&open(&path, OFlags::TRUNC | OFlags::NOFOLLOW)?, text, &path)?;
    }
    Ok(())
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644)).step_at(STEP, path)
}

fn fill(file: &OwnedFd, text: &str, path: &Path) -> Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(file, rest).step_at(STEP, path)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Only names in the directory itself.
pub fn check(files: &[BundleFile]) -> Result<()> {
    match files
        .iter()
        .find(|file| file.name.contains('/') || file.name.starts_with('.'))
    {
        Some(file) => {
            Err(Failure::kind("read keelson.files", "config-invalid").detail(file.name.clone()))
        }
        None => Ok(()),
    }
}
