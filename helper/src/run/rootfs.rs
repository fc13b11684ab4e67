//! The root file system: mounted in the container's own mount namespace, entered with pivot_root.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use super::config::{Propagation, RootfsMount, Tmpfs};
use super::mounts::{clone_mount, new_mount};
use crate::error::{Failure, Result, Step};
use crate::fs::remove::remove_path;
use crate::sys::mount::{MountAttributes, mount_setattr, mount_setattr_root};

/// The kernel takes no longer string in fsconfig(2), its end included.
const FSCONFIG_STRING: usize = 256;

/// Attaches them one upon the other; the topmost is the root.
pub fn attach_rootfs(mounts: Vec<OwnedFd>, path: &Path) -> Result<OwnedFd> {
    let mut root = None;
    for mount in mounts {
        root = Some(attach_at(mount, path)?);
    }
    root.ok_or_else(no_rootfs)
}

/// Mounts the parts one upon the other at `path`; the topmost is the root.
pub fn mount_rootfs(parts: &[RootfsMount], path: &Path) -> Result<OwnedFd> {
    let mut root = None;
    for part in parts {
        let on_tmpfs = match part {
            RootfsMount::Overlay {
                lower,
                options,
                tmpfs: Some(tmpfs),
                ..
            } => Some(overlay_on_tmpfs(lower, options, tmpfs, path)?),
            _ => None,
        };
        let part = on_tmpfs.as_ref().unwrap_or(part);
        root = Some(match detached(part)? {
            Some(mount) => attach_at(mount, path)?,
            None => mount_part(part, path)?,
        });
    }
    root.ok_or_else(no_rootfs)
}

/// What arrives from the host from now on still comes in, but nothing of ours goes out.
pub fn stop_propagation() -> Result<()> {
    mount_setattr_root(MountAttributes {
        propagation: libc::MS_SLAVE,
        recursive: true,
        ..MountAttributes::default()
    })
    .step("make the mounts slaves")
}

/// Makes `root` the root directory and lets go of everything that was mounted before.
pub fn pivot(root: impl AsFd, propagation: Option<Propagation>) -> Result<()> {
    let old = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step("open the old root")?;
    rustix::process::fchdir(root).step("enter the root file system")?;
    // The old root ends up mounted upon the new one, at the same place: no directory inside the image is needed.
    rustix::process::pivot_root(".", ".").step("pivot_root")?;
    rustix::process::fchdir(old).step("return to the old root")?;
    // Slaves already, so this unmounting cannot reach the host.
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("unmount the old root")?;
    rustix::process::chdir("/").step("enter the new root")?;
    if let Some(Propagation { kind, recursive }) = propagation {
        mount_setattr_root(MountAttributes {
            propagation: kind,
            recursive,
            ..MountAttributes::default()
        })
        .step("set the propagation of the root")?;
    }
    Ok(())
}

/// A tmpfs at `path`, which the overlay with what is written in it then covers.
fn overlay_on_tmpfs(
    lower: &[PathBuf],
    options: &[String],
    tmpfs: &Tmpfs,
    path: &Path,
) -> Result<RootfsMount> {
    const STEP: &str = "mount a writable layer in memory";
    let size = tmpfs
        .size
        .map(|size| ("size".to_owned(), Some(size.to_string())));
    attach_at(new_mount("tmpfs", None, size.as_slice(), 0)?, path)?;
    let (upper, work) = (path.join("upper"), path.join("work"));
    for directory in [&upper, &work] {
        rustix::fs::mkdir(directory, Mode::RWXU).step_at(STEP, directory)?;
    }
    // The root of an overlay is as its uppermost directory.
    if let Some(top) = lower.first() {
        let like = rustix::fs::stat(top).step_at(STEP, top)?;
        let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        rustix::fs::chown(&upper, Some(uid), Some(gid)).step_at(STEP, &upper)?;
        rustix::fs::chmod(&upper, Mode::from_raw_mode(like.st_mode & 0o7777))
            .step_at(STEP, &upper)?;
    }
    Ok(RootfsMount::Overlay {
        lower: lower.to_vec(),
        upper: Some(upper),
        work: Some(work),
        options: options.to_vec(),
        tmpfs: None,
    })
}

/// A mount that is in no tree yet. `None`: an overlay on a kernel that can only mount it the old way.
pub fn detached(part: &RootfsMount) -> Result<Option<OwnedFd>> {
    match part {
        RootfsMount::Bind { source, readonly } => bind(source, *readonly, true).map(Some),
        RootfsMount::Overlay { tmpfs: Some(_), .. } => {
            Err(Failure::kind("mount overlay", "unsupported")
                .detail("a writable layer in memory needs a mount namespace of its own"))
        }
        // Overlay wants two layers where nothing is written; a single one is that directory, read-only.
        RootfsMount::Overlay {
            lower, upper: None, ..
        } if lower.len() == 1 => bind(&lower[0], true, false).map(Some),
        RootfsMount::Overlay {
            lower,
            upper,
            work,
            options,
            ..
        } => {
            forget_volatile(work.as_deref(), options)?;
            let mut pinned = Vec::new();
            let mut strings = Vec::with_capacity(lower.len() + 2 + options.len());
            for directory in lower {
                strings.push(("lowerdir+", short(directory, &mut pinned)?));
            }
            for (key, directory) in [("upperdir", upper), ("workdir", work)] {
                if let Some(directory) = directory {
                    strings.push((key, short(directory, &mut pinned)?));
                }
            }
            overlay(&strings, options)
        }
    }
}

/// A volatile mount leaves a mark in its work directory, and the kernel refuses the next one: a crash of the host between
/// them might have lost what was written. Writable layers that are mounted so do not outlive the host's boot.
pub fn forget_volatile(work: Option<&Path>, options: &[String]) -> Result<()> {
    match work {
        Some(work) if options.iter().any(|option| option == "volatile") => {
            remove_path(&work.join("work/incompat"))
        }
        _ => Ok(()),
    }
}

fn overlay(strings: &[(&str, CString)], options: &[String]) -> Result<Option<OwnedFd>> {
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).step("fsopen overlay")?;
    for (key, value) in strings {
        match rustix::mount::fsconfig_set_string(&context, *key, value) {
            Ok(()) => {}
            // Before Linux 6.7 there is no `lowerdir+`.
            Err(Errno::INVAL) if *key == "lowerdir+" => return Ok(None),
            Err(errno) => {
                return Err(errno)
                    .step(format!("overlay {key}"))
                    .map_err(|f| f.path(value.to_string_lossy().as_ref()));
            }
        }
    }
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value),
            None => rustix::mount::fsconfig_set_flag(&context, option.as_str()),
        }
        .step(format!("overlay {option}"))?;
    }
    match rustix::mount::fsconfig_create(&context) {
        // Before Linux 6.5 the options of overlay are collected unread, so the unknown one is noticed only here.
        Err(Errno::INVAL) => return Ok(None),
        created => created
            .step("mount overlay")
            .map_err(|failure| explain(failure, &context))?,
    }
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .step("fsmount overlay")
    .map(Some)
}

/// What the kernel wrote about the failure, as it does for the new mount calls.
pub fn explain(failure: Failure, context: &OwnedFd) -> Failure {
    let mut message = [0; 512];
    match rustix::io::read(context, &mut message) {
        Ok(length) => failure.detail(
            String::from_utf8_lossy(&message[..length])
                .trim()
                .to_owned(),
        ),
        Err(_) => failure,
    }
}

/// The directory's path, or the path of a descriptor of it where the path itself is too long.
fn short(directory: &Path, pinned: &mut Vec<OwnedFd>) -> Result<CString> {
    let path = directory.as_os_str().as_encoded_bytes();
    if path.len() < FSCONFIG_STRING {
        return CString::new(path).ok().ok_or_else(|| nul(directory));
    }
    pin(directory, pinned)
}

fn pin(directory: &Path, pinned: &mut Vec<OwnedFd>) -> Result<CString> {
    let fd = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step_at("open a layer", directory)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    pinned.push(fd);
    CString::new(path).ok().ok_or_else(|| nul(directory))
}

/// The old way, at `path`. mount(2) takes one page of options, so every directory is named by a descriptor: room for some 200 layers, and no
/// character of a path can be mistaken for a separator.
pub fn mount_part(part: &RootfsMount, path: &Path) -> Result<OwnedFd> {
    let RootfsMount::Overlay {
        lower,
        upper,
        work,
        options,
        ..
    } = part
    else {
        unreachable!("only overlay has an old way");
    };
    let mut pinned = Vec::new();
    let mut data = b"lowerdir=".to_vec();
    for (index, directory) in lower.iter().enumerate() {
        if index > 0 {
            data.push(b':');
        }
        data.extend(pin(directory, &mut pinned)?.as_bytes());
    }
    for (key, directory) in [("upperdir", upper), ("workdir", work)] {
        if let Some(directory) = directory {
            data.extend(format!(",{key}=").bytes());
            data.extend(pin(directory, &mut pinned)?.as_bytes());
        }
    }
    for option in options {
        data.push(b',');
        data.extend(option.bytes());
    }
    let data = CString::new(data).ok().ok_or_else(|| nul(path))?;
    rustix::mount::mount(
        "overlay",
        path,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
    .step_at("mount overlay", path)?;
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step_at("open the root file system", path)
}

pub fn bind(source: &Path, readonly: bool, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = rustix::mount::open_tree(CWD, source, flags)
        .step_at("bind the root file system", source)?;
    if readonly {
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            recursive,
            ..MountAttributes::default()
        };
        mount_setattr(&tree, attributes).step_at("make the root file system read-only", source)?;
    }
    Ok(tree)
}

/// A clone of an attached mount.
pub fn clone_tree(mount: &OwnedFd) -> Result<OwnedFd> {
    clone_mount(mount, false).step("take the root file system")
}

pub fn attach_at(mount: OwnedFd, path: &Path) -> Result<OwnedFd> {
    rustix::mount::move_mount(
        &mount,
        "",
        CWD,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .step_at("attach the root file system", path)?;
    Ok(mount)
}

fn nul(path: &Path) -> Failure {
    Failure::kind("read a path", "config-invalid")
        .path(path)
        .detail("contains a NUL byte")
}

fn no_rootfs() -> Failure {
    Failure::kind("mount the root file system", "config-invalid").detail("keelson.rootfs is empty")
}
