//! Real trees, by root.

mod copy;
mod remove;
mod usage;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat};

/// Far deeper than a path can be long, or descriptors can be open.
pub const DEPTH: usize = 3000;

/// Makes `root/d/d/d...` with a file in the deepest directory.
pub fn deep_tree(root: &Path) {
    std::fs::create_dir(root).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut dir: OwnedFd = open(root, flags, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
    openat(
        dir.as_fd(),
        "file",
        OFlags::CREATE | OFlags::WRONLY,
        Mode::RUSR,
    )
    .unwrap();
}

/// A tmpfs for as long as the value lives.
pub struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    pub fn tmpfs(path: &'a Path) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, None).unwrap();
        std::fs::write(path.join("precious"), "kept").unwrap();
        Mounted(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(self.0, flags).unwrap();
    }
}

pub fn make_device(path: &Path, major: u32, minor: u32) {
    let device = rustix::fs::makedev(major, minor);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, path, kind, Mode::RUSR, device).unwrap();
}
