//! The host's procfs, verified once: the only door to /proc that the launcher and its children use.
//!
//! Writes to /proc go through this descriptor and not through the container's /proc, so that nothing the image or a
//! volume brings can redirect them (CVE-2019-16884, CVE-2025-52881).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Failure, Result, Step};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// `PROC_ROOT_INO`
const ROOT_INODE: u64 = 1;

pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    pub fn open() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = rustix::fs::open("/proc", flags, Mode::empty()).step("open /proc")?;
        let magic = rustix::fs::fstatfs(&root).step("inspect /proc")?.f_type;
        let inode = rustix::fs::fstat(&root).step("inspect /proc")?.st_ino;
        if magic != PROC_SUPER_MAGIC || inode != ROOT_INODE {
            return Err(Failure::new("open /proc").detail("not a proc file system"));
        }
        Ok(Procfs { root })
    }

    /// Writes one value with one write, as these files want it. `path` is below /proc.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let file = self
            .open_file(path)
            .step_at(format!("open /proc/{path}"), format!("/proc/{path}"))?;
        rustix::io::write(&file, value)
            .step_at(format!("write /proc/{path}"), format!("/proc/{path}"))
            .map(drop)
    }

    /// The number that this process has for whoever this procfs is.
    pub fn own_pid(&self) -> Result<i32> {
        let link =
            rustix::fs::readlinkat(&self.root, "self", Vec::new()).step("read /proc/self")?;
        let number = link.to_str().ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| Failure::new("read /proc/self").detail("no number"))
    }

    /// A handle on a namespace (`mnt`, ...) of a child: the namespace lives for as long as anybody holds one.
    pub fn open_namespace(&self, pid: Pid, name: &str) -> rustix::io::Result<OwnedFd> {
        let path = format!("{}/ns/{name}", pid.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, path, flags, Mode::empty())
    }

    /// Nothing mounted over a part of /proc is walked into. Links are refused too, but for /proc/self, which is
    /// procfs's own and cannot be anybody else's.
    fn open_file(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                opened => return opened,
            }
        }
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
