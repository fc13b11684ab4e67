//! The container's root file system seen from outside: every path in it is resolved by the kernel, inside it.
//!
//! The files in it are the image's, so they are an attacker's: a link may point anywhere, and with a shared volume it
//! may change at any moment. `RESOLVE_IN_ROOT` takes every absolute link and every `..` inside the root, magic links
//! are refused, and what was resolved is used through its descriptor, never by path again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{MoveMountFlags, move_mount};

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Permissions of directories made on the way to a mount point or working directory.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

pub struct Root {
    fd: OwnedFd,
}

impl Root {
    pub fn new(fd: OwnedFd) -> Self {
        Root { fd }
    }

    /// A handle (`O_PATH`) on what `path` leads to.
    pub fn find(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::empty())
    }

    /// The same, where a link on the way is an error: for places whose identity matters, like /proc.
    pub fn find_without_links(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH, ResolveFlags::NO_SYMLINKS)
    }

    /// A handle on the directory at `path`, which is made, with its parents, where it is missing.
    pub fn make_directory(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, flags, ResolveFlags::empty()) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let (parent, name) = self.make_parent(path)?;
        match rustix::fs::mkdirat(&parent, name, DIRECTORY_MODE) {
            // Made by somebody else meanwhile, or a link that leads nowhere: the second look tells.
            Ok(()) | Err(Errno::EXIST) => self.open(path, flags, ResolveFlags::empty()),
            Err(errno) => Err(errno),
        }
    }

    /// A handle on whatever is at `path`; where there is nothing, an empty file is made.
    pub fn make_file(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        match self.find(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let (parent, name) = self.make_parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(Errno::EXIST) => self.find(path),
            Err(errno) => Err(errno),
        }
    }

    /// The directory that holds the last component of `path`, made where missing, and that component.
    pub fn make_parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        Ok((self.make_directory(parent.unwrap_or(Path::new("/")))?, name))
    }

    fn open(
        &self,
        path: impl AsRef<Path>,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        loop {
            // EAGAIN: something was renamed while `..` was being resolved.
            match rustix::fs::openat2(
                &self.fd,
                path.as_ref(),
                flags,
                Mode::empty(),
                INSIDE | resolve,
            ) {
                Err(Errno::AGAIN) => {}
                opened => return opened,
            }
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Attaches a detached mount at exactly the place that `target` stands for.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(directory: &Path) -> Root {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Root::new(rustix::fs::open(directory, flags, Mode::empty()).unwrap())
    }

    #[test]
    fn links_out_of_the_root_lead_inside_it() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("absolute")).unwrap();
        symlink("../../../..", inside.path().join("up")).unwrap();
        let root = root(inside.path());

        root.make_directory("/up/made").unwrap();
        assert!(inside.path().join("made").is_dir());

        assert!(root.make_directory("/absolute/made").is_err());
        root.make_directory(outside.path()).unwrap();
        root.make_file("/absolute/file").unwrap();
        assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
    }

    #[test]
    fn magic_links_are_refused() {
        let root = root(Path::new("/"));
        assert_eq!(root.find("/proc/self/cwd").unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn a_link_is_refused_where_identity_matters() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("real")).unwrap();
        symlink("real", inside.path().join("proc")).unwrap();
        let root = root(inside.path());
        assert!(root.find("/proc").is_ok());
        assert_eq!(root.find_without_links("/proc").unwrap_err(), Errno::LOOP);
    }
}
