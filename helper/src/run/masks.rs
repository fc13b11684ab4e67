//! Masked and read-only paths, below /proc and /sys and elsewhere.
//!
//! Everything goes by descriptor (CVE-2025-31133, CVE-2025-52565): what is hidden is what was found, and what hides it is
//! the host's own null device or an empty file system, never a file that the image could have put there.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::mounts::{PlannedMount, clone_host_file, clone_mount, new_mount};
use super::root::{Root, attach};
use crate::error::{Failure, Result, Step};
use crate::sys::mount::{MountAttributes, mount_setattr};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;
/// Major and minor of /dev/null.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Hides paths: directories behind an empty one, all else behind the null device. What does not exist is skipped.
pub fn mask_paths(root: &Root, paths: &[String], mounts: &[PlannedMount]) -> Result<()> {
    // One file system is enough for all of them: the first is attached, the others are its clones.
    let mut empty: Option<OwnedFd> = None;
    for (index, path) in paths.iter().enumerate() {
        if paths[..index].contains(path) {
            continue;
        }
        let Some(target) = find(root, path, mounts)? else {
            continue;
        };
        let stat = rustix::fs::fstat(&target).step_at("inspect a path to mask", path)?;
        let cover = if FileType::from_raw_mode(stat.st_mode).is_dir() {
            match &empty {
                Some(first) => clone_mount(first, false).step_at("mask a path", path)?,
                None => new_mount("tmpfs", None, &empty_options(), libc::MOUNT_ATTR_RDONLY)?,
            }
        } else {
            null_device()?
        };
        attach(&cover, &target).step_at("mask a path", path)?;
        if empty.is_none() && FileType::from_raw_mode(stat.st_mode).is_dir() {
            empty = Some(cover);
        }
    }
    Ok(())
}

/// Makes paths, with all that is mounted below, read-only. What does not exist is skipped.
pub fn make_readonly(root: &Root, paths: &[String], mounts: &[PlannedMount]) -> Result<()> {
    for path in paths {
        let Some(target) = find(root, path, mounts)? else {
            continue;
        };
        let tree = clone_mount(&target, true).step_at("make a path read-only", path)?;
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            recursive: true,
            ..MountAttributes::default()
        };
        mount_setattr(&tree, attributes).step_at("make a path read-only", path)?;
        attach(tree, target).step_at("make a path read-only", path)?;
    }
    Ok(())
}

fn find(root: &Root, path: &str, mounts: &[PlannedMount]) -> Result<Option<OwnedFd>> {
    let expected = [
        ("proc", "/proc", PROC_SUPER_MAGIC),
        ("sysfs", "/sys", SYSFS_MAGIC),
    ]
    .into_iter()
    .find(|(kind, place, _)| {
        Path::new(path).starts_with(place)
            && mounts
                .iter()
                .any(|mount| mount.is_type(kind) && mount.config.destination == Path::new(place))
    });
    let found = match expected {
        Some(_) => root.find_without_links(path),
        None => root.find(path),
    };
    let target = match found {
        Ok(target) => target,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno).step_at("find a path to hide", path),
    };
    if let Some((kind, _, magic)) = expected {
        let found = rustix::fs::fstatfs(&target).step_at("inspect a path to hide", path)?;
        if found.f_type != magic {
            return Err(Failure::new("find a path to hide")
                .path(path)
                .detail(format!("not on {kind}")));
        }
    }
    Ok(Some(target))
}

fn null_device() -> Result<OwnedFd> {
    let null = clone_host_file(Path::new("/dev/null")).step("open the null device")?;
    let stat = rustix::fs::fstat(&null).step("inspect the null device")?;
    let number = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    if !FileType::from_raw_mode(stat.st_mode).is_char_device() || number != NULL_DEVICE {
        return Err(Failure::new("inspect the null device")
            .detail("the host's /dev/null is something else"));
    }
    Ok(null)
}

fn empty_options() -> [(String, Option<String>); 2] {
    [
        ("size".into(), Some("0".into())),
        ("mode".into(), Some("555".into())),
    ]
}
