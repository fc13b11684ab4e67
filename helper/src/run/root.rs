//! The container's root file system seen from outside: every path in it is resolved by the kernel, inside it.
//!
//! The files in it are the image's, so they are an attacker's: a link may point anywhere, and with a shared volume it
//! may change at any moment. `RESOLVE_IN_ROOT` takes every absolute link and every `..` inside the root, magic links
//! are refused, and what was resolved is used through its descriptor, never by path again.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{MoveMountFlags, move_mount};

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Permissions of directories made on the way to a mount point or working directory.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// As many as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

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

    /// A handle on the directory at `path`, which is made, with its parents, where it is missing; also behind a link that
    /// leads to nothing, as /etc/resolv.conf of many images does.
    pub fn make_directory(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.make_directory_by(path.as_ref(), MOST_LINKS)
    }

    /// A handle on whatever is at `path`; where there is nothing, an empty file is made.
    pub fn make_file(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.make_file_by(path.as_ref(), MOST_LINKS)
    }

    /// The directory that holds the last component of `path`, made where missing, and that component.
    pub fn make_parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
        self.make_parent_by(path, MOST_LINKS)
    }

    fn make_directory_by(&self, path: &Path, links: u32) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, flags, ResolveFlags::empty()) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let (parent, name) = self.make_parent_by(path, links)?;
        match rustix::fs::mkdirat(&parent, name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        match self.open(path, flags, ResolveFlags::empty()) {
            Err(Errno::NOENT) => {
                let (target, links) = dangling(&parent, path, name, links)?;
                self.make_directory_by(&target, links)
            }
            made => made,
        }
    }

    fn make_file_by(&self, path: &Path, links: u32) -> Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let (parent, name) = self.make_parent_by(path, links)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        match self.find(path) {
            Err(Errno::NOENT) => {
                let (target, links) = dangling(&parent, path, name, links)?;
                self.make_file_by(&target, links)
            }
            made => made,
        }
    }

    fn make_parent_by<'a>(&self, path: &'a Path, links: u32) -> Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = self.make_directory_by(parent.unwrap_or(Path::new("/")), links)?;
        Ok((parent, name))
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

/// Where a link that leads to nothing leads to: `name` in `parent`, which is the last component of `path`. The kernel
/// resolves it, inside the root like any other path; and no more of them than it would follow itself.
fn dangling(parent: &OwnedFd, path: &Path, name: &OsStr, links: u32) -> Result<(PathBuf, u32)> {
    let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
    let target = match rustix::fs::readlinkat(parent, name, Vec::new()) {
        // No link: it was made and is gone again.
        Err(Errno::INVAL) => return Err(Errno::NOENT),
        target => target?,
    };
    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
    Ok((path.parent().unwrap_or(Path::new("/")).join(target), links))
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

        root.make_directory("/absolute/made").unwrap();
        root.make_file("/absolute/file").unwrap();
        assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
    }

    #[test]
    fn links_that_lead_to_nothing_are_made_to_lead_somewhere() {
        let inside = tempfile::tempdir().unwrap();
        let at = |path: &str| inside.path().join(path);
        std::fs::create_dir(at("etc")).unwrap();
        symlink("../run/resolve/stub.conf", at("etc/resolv.conf")).unwrap();
        symlink("/etc/second", at("etc/first")).unwrap();
        symlink("../../../../made/here", at("etc/second")).unwrap();
        symlink("loop", at("etc/loop")).unwrap();
        symlink("there/loop/x", at("there")).unwrap();
        let root = root(inside.path());

        root.make_file("/etc/resolv.conf").unwrap();
        assert!(at("run/resolve/stub.conf").is_file());
        root.make_directory("/etc/first/below").unwrap();
        assert!(at("made/here/below").is_dir());
        assert_eq!(root.make_file("/etc/loop").unwrap_err(), Errno::LOOP);
        assert!(root.make_directory("/there").is_err());
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
