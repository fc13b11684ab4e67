//! Overlay mounts on the engine's file system, with everything that an image needs of them.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount, mount_change,
};
use rustix::thread::UnshareFlags;

use super::attempt::{Fact, Scratch, attempt};
use crate::error::{Result, Step};
use crate::fs::remove::remove_at;
use crate::sys::namespace::unshare;

/// That it can be mounted says little: without the extended attributes that it needs, a removed and remade directory
/// would show its old files again.
pub fn writable(scratch: &Scratch, options: &str) -> Result<Fact> {
    const PARTS: [&str; 4] = ["lower", "upper", "work", "merged"];
    const STEP: &str = "prepare an overlay";
    for part in PARTS {
        fs::mkdirat(&scratch.fd, part, Mode::RWXU).step_at(STEP, &scratch.path)?;
    }
    for part in ["lower/d", "lower/d/sub"] {
        fs::mkdirat(&scratch.fd, part, Mode::RWXU).step_at(STEP, &scratch.path)?;
    }
    let fact = attempt(|| {
        in_namespace(scratch)?;
        let data = format!("lowerdir=lower,upperdir=upper,workdir=work{options}");
        let data = CString::new(data).map_err(|_| Errno::INVAL)?;
        mount(
            "overlay",
            "merged",
            "overlay",
            MountFlags::empty(),
            data.as_c_str(),
        )?;
        fs::unlinkat(fs::CWD, "merged/d/sub", AtFlags::REMOVEDIR)?;
        fs::unlinkat(fs::CWD, "merged/d", AtFlags::REMOVEDIR)?;
        fs::mkdirat(fs::CWD, "merged/d", Mode::RWXU)?;
        match fs::statat(fs::CWD, "merged/d/sub", AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            _ => Err(Errno::NOTSUP),
        }
    })?;
    for part in PARTS {
        remove_at(
            std::os::fd::AsFd::as_fd(&scratch.fd),
            part.as_bytes(),
            &scratch.path,
        )?;
    }
    Ok(fact)
}

pub fn lowerdir_plus(scratch: &Scratch) -> Result<Fact> {
    for part in ["one", "two"] {
        fs::mkdirat(&scratch.fd, part, Mode::RWXU).step_at("prepare an overlay", &scratch.path)?;
    }
    attempt(|| {
        in_namespace(scratch)?;
        let context: OwnedFd = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "lowerdir+", "one")?;
        fsconfig_set_string(&context, "lowerdir+", "two")?;
        fsconfig_create(&context)?;
        let root = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        fs::openat(&root, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop)
    })
}

/// Relative names need no escaping in mount options.
fn in_namespace(scratch: &Scratch) -> rustix::io::Result<()> {
    unshare(UnshareFlags::NEWNS)?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    // By its name: the descriptor belongs to the namespace that was left, in which nothing can be mounted any more.
    rustix::process::chdir(&scratch.path)
}
