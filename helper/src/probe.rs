//! `probe`: what this host lets us do, found out by doing it.
//!
//! Version numbers and configuration files say little: rights, security modules, seccomp filters around us and the
//! file system decide too. Each attempt is a child of its own with namespaces of its own, and leaves nothing.

mod attempt;
mod idmap;
mod overlay;

use std::path::PathBuf;

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::run::capability_names;
use crate::sys::mount::{MountAttributes, mount_setattr_root};
use crate::sys::namespace::unshare;
use crate::sys::{self, probe::seccomp_action_available};
use attempt::{Fact, Scratch, attempt};

#[derive(Deserialize)]
pub struct Probe {
    /// On the file system that the engine keeps its layers on.
    directory: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    overlay: Fact,
    overlay_userxattr: Fact,
    overlay_lowerdir_plus: Fact,
    namespaces: Namespaces,
    openat2: Fact,
    clone_into_cgroup: Fact,
    mount_setattr: Fact,
    idmapped_mounts: Fact,
    reflink: Fact,
    seccomp_actions: Vec<&'static str>,
    capabilities: Vec<&'static str>,
    uid: u32,
    page_size: usize,
}

#[derive(Serialize)]
struct Namespaces {
    mount: Fact,
    pid: Fact,
    ipc: Fact,
    uts: Fact,
    net: Fact,
    cgroup: Fact,
    user: Fact,
    time: Fact,
}

pub fn probe(args: &Probe) -> Result<Facts> {
    let scratch = Scratch::make(&args.directory)?;
    let sets = rustix::thread::capabilities(None);
    let effective = sets.map(|sets| capability_names(sets.effective));
    Ok(Facts {
        overlay: overlay::writable(&scratch, "")?,
        overlay_userxattr: overlay::writable(&scratch, ",userxattr")?,
        overlay_lowerdir_plus: overlay::lowerdir_plus(&scratch)?,
        namespaces: namespaces()?,
        openat2: Fact::of(openat2()),
        clone_into_cgroup: Fact::of(clone_into_cgroup()),
        mount_setattr: attempt(mount_setattr)?,
        idmapped_mounts: idmap::idmapped_mounts(&scratch)?,
        reflink: Fact::of(reflink(&scratch)),
        seccomp_actions: seccomp_actions(),
        capabilities: effective.unwrap_or_default(),
        uid: rustix::process::geteuid().as_raw(),
        page_size: rustix::param::page_size(),
    })
}

fn namespaces() -> Result<Namespaces> {
    let new = |flags| attempt(|| unshare(flags));
    Ok(Namespaces {
        mount: new(UnshareFlags::NEWNS)?,
        pid: new(UnshareFlags::NEWPID)?,
        ipc: new(UnshareFlags::NEWIPC)?,
        uts: new(UnshareFlags::NEWUTS)?,
        net: new(UnshareFlags::NEWNET)?,
        cgroup: new(UnshareFlags::NEWCGROUP)?,
        user: new(UnshareFlags::NEWUSER)?,
        time: new(UnshareFlags::NEWTIME)?,
    })
}

fn openat2() -> rustix::io::Result<()> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(
        fs::CWD,
        "/",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        within,
    )
    .map(drop)
}

/// A kernel that knows the flag complains that this directory is no cgroup; others do not get that far. (Which cgroups
/// may be entered is another question, answered where they are.)
fn clone_into_cgroup() -> rustix::io::Result<()> {
    let root = fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let root = std::os::fd::AsFd::as_fd(&root);
    match sys::process::clone(0, Some(root), || sys::process::exit(0)) {
        Ok((pid, _)) => {
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).map(drop)
        }
        Err(Errno::BADF) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn mount_setattr() -> rustix::io::Result<()> {
    unshare(UnshareFlags::NEWNS)?;
    mount_setattr_root(MountAttributes {
        propagation: libc::MS_PRIVATE,
        recursive: true,
        ..MountAttributes::default()
    })
}

fn reflink(scratch: &Scratch) -> rustix::io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = |name| fs::openat(&scratch.fd, name, flags, Mode::RUSR | Mode::WUSR);
    let (from, to) = (file("from")?, file("to")?);
    rustix::io::write(&from, &[1; 4096])?;
    fs::ioctl_ficlone(&to, &from)
}

/// By the names of the OCI runtime specification.
fn seccomp_actions() -> Vec<&'static str> {
    const ACTIONS: [(&str, u32); 8] = [
        ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
        ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
        ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
        ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO),
        ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF),
        ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE),
        ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW),
    ];
    let available = |(_, action): &(&str, u32)| seccomp_action_available(*action).is_ok();
    let actions = ACTIONS.into_iter().filter(available);
    actions.map(|(name, _)| name).collect()
}
