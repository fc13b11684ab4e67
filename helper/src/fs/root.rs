//! A root file system to work in: a running container's, or one that is mounted for this operation alone.
//!
//! Every path is resolved by the kernel with the root's descriptor as its `/`, and what was found is used by descriptor. A
//! process of the container may move directories and swap links as it likes: nothing leads out, and nothing is looked up
//! twice (CVE-2018-15664).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::process::DumpableBehavior;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use serde::Deserialize;

use super::bytes::Bytes;
use crate::error::{Failure, Result, Step};
use crate::first_process::{FirstProcess, gone};
use crate::run::{RootfsMount, mount_rootfs};
use crate::sys::mount::{MountAttributes, mount_setattr};
use crate::sys::namespace::{join, unshare};

const STEP: &str = "open the root file system";

/// Which root file system.
#[derive(Deserialize, Debug, Clone)]
#[serde(untagged)]
pub enum Place {
    /// That of a container's first process.
    Running {
        #[serde(flatten)]
        first: FirstProcess,
        /// False: without what is mounted in it.
        #[serde(default = "yes")]
        submounts: bool,
    },
    /// One that nobody runs in, mounted for this operation.
    Stored {
        rootfs: Vec<RootfsMount>,
        /// What else a container would see in it.
        #[serde(default)]
        binds: Vec<Bound>,
    },
    /// A directory of this host, as it is.
    Directory { directory: PathBuf },
}

#[derive(Deserialize, Debug, Clone)]
pub struct Bound {
    source: PathBuf,
    target: Bytes,
    /// Only this of the source.
    subpath: Option<Bytes>,
    #[serde(default)]
    readonly: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// To be called in a process of its own: it may change namespaces and user.
    pub fn open(place: &Place, access: Access) -> Result<Root> {
        let fd = match place {
            Place::Running { first, submounts } => running(*first, *submounts)?,
            Place::Stored { rootfs, binds } => stored(rootfs, binds, access)?,
            Place::Directory { directory } => {
                fs::open(directory, directory_flags(), Mode::empty()).step_at(STEP, directory)?
            }
        };
        Ok(Root { fd })
    }

    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What is at `path`, opened by `O_PATH`: that does nothing to a device or a FIFO, and waits for nobody.
    pub fn find(&self, path: &[u8], follow: bool) -> rustix::io::Result<OwnedFd> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        open_in_root(self.fd.as_fd(), path, flags)
    }

    /// The directory that holds the last component of a path, and that component, which may be a symbolic link or missing.
    pub fn parent<'a>(&self, path: &'a [u8]) -> rustix::io::Result<(OwnedFd, &'a [u8])> {
        let (directory, name) = split(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok((open_in_root(self.fd.as_fd(), directory, flags)?, name))
    }
}

/// `a/b/` is `a` and `b`; a path without a last component of its own has none that could be made or removed.
pub fn split(path: &[u8]) -> rustix::io::Result<(&[u8], &[u8])> {
    let end = path.iter().rposition(|byte| *byte != b'/');
    let path = &path[..end.map_or(0, |end| end + 1)];
    let start = path.iter().rposition(|byte| *byte == b'/');
    let (directory, name) = match start {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&b"."[..], path),
    };
    match name {
        b"" => Err(Errno::BUSY),
        b"." | b".." => Err(Errno::INVAL),
        name => Ok((directory, name)),
    }
}

/// The file itself, opened anew: the descriptor's name in /proc leads to nothing else.
pub fn reopen(file: BorrowedFd<'_>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::open(
        link,
        flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
    )
}

pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn open_in_root(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match fs::openat2(root, path, flags, Mode::empty(), within) {
            Err(Errno::AGAIN) => continue, // a rename somewhere during the look-up of a `..`
            found => return found,
        }
    }
}

fn running(first: FirstProcess, submounts: bool) -> Result<OwnedFd> {
    let process = first.open()?;
    let missing = |errno| match errno {
        Errno::NOENT | Errno::SRCH => gone(),
        errno => Failure::new(STEP).errno(errno),
    };
    let open =
        |name: &str, flags| fs::open(first.proc(name), flags, Mode::empty()).map_err(missing);
    let root = open("root", directory_flags())?;
    let user = open("ns/user", OFlags::RDONLY | OFlags::CLOEXEC)?;
    first.must_live(&process)?;
    let root = match submounts {
        true => root,
        false => without_submounts(&process)?,
    };
    enter_user_namespace(&user)?;
    Ok(root)
}

/// A copy of the mount at the container's root. It can only be made from inside of the container's mount namespace.
fn without_submounts(process: &OwnedFd) -> Result<OwnedFd> {
    // One of our own to come back to: the one we came from may belong to a user namespace above us.
    unshare(UnshareFlags::NEWNS).step("make a mount namespace")?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let ours = fs::open("/proc/self/ns/mnt", flags, Mode::empty()).step(STEP)?;
    join(process, Some(LinkNameSpaceType::Mount)).step("enter the mount namespace")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let root = open_tree(CWD, "/", flags);
    join(&ours, Some(LinkNameSpaceType::Mount)).step("leave the mount namespace")?;
    root.step(STEP)
}

/// In a container with a user namespace of its own, ids are that namespace's.
fn enter_user_namespace(user: &OwnedFd) -> Result<()> {
    const STEP: &str = "enter the user namespace";
    let ours = fs::stat("/proc/self/ns/user").step(STEP)?;
    let theirs = fs::fstat(user).step(STEP)?;
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
        return Ok(());
    }
    join(user, Some(LinkNameSpaceType::User)).step(STEP)?;
    let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).step(STEP)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step(STEP)?;
    // Node opens this process's pipes, which it may not after such a change.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).step(STEP)
}

fn stored(rootfs: &[RootfsMount], binds: &[Bound], access: Access) -> Result<OwnedFd> {
    let parts: Vec<_> = match access {
        Access::Read => rootfs.iter().cloned().map(read_only).collect(),
        Access::Write => rootfs.to_vec(),
    };
    let place = match parts.last() {
        Some(RootfsMount::Overlay { lower, .. }) => lower.first(),
        Some(RootfsMount::Bind { source, .. }) => Some(source),
        None => None,
    };
    let Some(place) = place else {
        return Err(Failure::kind("decode the request", "protocol").detail("rootfs is empty"));
    };
    unshare(UnshareFlags::NEWNS).step("make a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step("make the mounts private")?;
    // Opened before anything is mounted: a volume may lie below the layer that serves as the mount point.
    let trees = binds.iter().map(bound).collect::<Result<Vec<_>>>()?;
    // Over one of its own layers, which it needs no more: so no directory has to be made.
    let root = mount_rootfs(&parts, place)?;
    for (bind, tree) in binds.iter().zip(trees) {
        let target =
            match open_in_root(root.as_fd(), &bind.target.0, OFlags::PATH | OFlags::CLOEXEC) {
                // The container was never started: nothing is mounted over yet.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                target => target.step_at(STEP, lossy(&bind.target.0))?,
            };
        let empty =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &target, "", empty).step_at(STEP, lossy(&bind.target.0))?;
    }
    Ok(root)
}

fn bound(bind: &Bound) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = match &bind.subpath {
        None => open_tree(CWD, &bind.source, flags),
        Some(subpath) => fs::open(&bind.source, directory_flags(), Mode::empty())
            .and_then(|whole| {
                open_in_root(whole.as_fd(), &subpath.0, OFlags::PATH | OFlags::CLOEXEC)
            })
            .and_then(|part| open_tree(part, "", flags | OpenTreeFlags::AT_EMPTY_PATH)),
    }
    .step_at(STEP, &bind.source)?;
    if bind.readonly {
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            recursive: true,
            ..MountAttributes::default()
        };
        mount_setattr(&tree, attributes).step_at(STEP, &bind.source)?;
    }
    Ok(tree)
}

/// What is written in an upper directory shows, but a second mount must not claim it.
pub fn read_only(part: RootfsMount) -> RootfsMount {
    match part {
        RootfsMount::Overlay {
            lower,
            upper,
            options,
            ..
        } => RootfsMount::Overlay {
            lower: upper.into_iter().chain(lower).collect(),
            upper: None,
            work: None,
            options: options.into_iter().filter(|o| o == "userxattr").collect(),
            tmpfs: None,
        },
        RootfsMount::Bind { source, .. } => RootfsMount::Bind {
            source,
            readonly: true,
        },
    }
}

pub fn lossy(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}

fn yes() -> bool {
    true
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}
