//! The directory a layer is applied to, and finding places in it.
//!
//! Every directory is resolved by the kernel with the target as its root, so `..`, absolute names and symbolic links
//! cannot lead out; and everything is done with the last component of a name in such a directory, never through it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec};
use rustix::io::Errno;
use serde::Deserialize;

use super::path::{check_length, join, reversed, split};
use super::record::Record;
use super::tar::{invalid, limit};
use crate::error::{Failure, Result, Step};
use crate::fs::node::{Node, timespec};
use crate::fs::remove::remove_at;

/// How whiteouts are written down.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For overlayfs: 0/0 devices, `trusted.overlay.opaque`.
    Overlay,
    /// The same for mounts with `userxattr`: `user.overlay.opaque`.
    OverlayUserxattr,
    /// The target holds the parent's content, and whiteouts are carried out on it.
    Plain,
}

impl Format {
    pub fn opaque_xattr(self) -> Option<&'static [u8]> {
        match self {
            Format::Overlay => Some(b"trusted.overlay.opaque"),
            Format::OverlayUserxattr => Some(b"user.overlay.opaque"),
            Format::Plain => None,
        }
    }
}

pub struct Target {
    root: OwnedFd,
    /// What /proc calls the root, to recognize it at the start of what lies in it.
    root_name: Vec<u8>,
    shown: PathBuf,
    /// In a layer nothing is mounted; in a container's root file system volumes are.
    mounts: ResolveFlags,
    pub format: Format,
    pub record: Record,
    /// The directory of the last entry, by the name that was asked for: layers have long runs in one directory.
    last: Option<(Vec<u8>, Rc<Directory>)>,
}

/// An open directory of the target (`O_PATH`).
pub struct Directory {
    pub fd: OwnedFd,
    /// Without symbolic links, relative to the target, empty for itself.
    pub path: Vec<u8>,
}

impl Directory {
    pub fn node<'a>(&'a self, name: &'a [u8]) -> Node<'a> {
        Node::Entry(self.fd.as_fd(), name)
    }
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

impl Target {
    pub fn open(path: &Path, format: Format) -> Result<Self> {
        let root = fs::open(path, directory_flags(), Mode::empty())
            .step_at("open the layer's target", path)?;
        let root_name = proc_name(&root).step_at("open the layer's target", path)?;
        Ok(Target {
            root,
            root_name,
            shown: path.to_path_buf(),
            mounts: ResolveFlags::NO_XDEV,
            format,
            record: Record::new(format == Format::Plain),
            last: None,
        })
    }

    /// A whole root file system, with what is mounted in it. There are no parents: all that is there may be replaced.
    pub fn within(root: OwnedFd) -> Result<Self> {
        let root_name = proc_name(&root).step("open the root file system")?;
        Ok(Target {
            root,
            root_name,
            shown: PathBuf::new(),
            mounts: ResolveFlags::empty(),
            format: Format::Plain,
            record: Record::new(false),
            last: None,
        })
    }

    /// A directory's own entry, opened for reading; never through a symbolic link.
    pub fn open_own(&self, parent: &Directory, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | self.mounts;
        fs::openat2(&parent.fd, name, flags, Mode::empty(), within)
    }

    /// Whether what is there and stays keeps what is not said of it anew.
    pub fn merges(&self) -> bool {
        self.mounts.is_empty()
    }

    /// The directory at `path`, made where it is missing. Symbolic links are followed inside the target.
    pub fn directory(&mut self, path: &[u8]) -> Result<Rc<Directory>> {
        match &self.last {
            Some((asked, directory)) if asked == path => return Ok(directory.clone()),
            _ => (),
        }
        let directory = match self.find(path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path)?,
            Err(errno) => return Err(resolve_failure(errno)),
        };
        self.keep_parents_times(&directory)?;
        let directory = Rc::new(directory);
        self.last = Some((path.to_vec(), directory.clone()));
        Ok(directory)
    }

    /// The directory at `path`, if it is there.
    pub fn find(&self, path: &[u8]) -> rustix::io::Result<Directory> {
        if path.is_empty() {
            let fd = fs::openat(&self.root, ".", directory_flags(), Mode::empty())?;
            return Ok(Directory {
                fd,
                path: Vec::new(),
            });
        }
        match self.open_in_root(path, ResolveFlags::NO_SYMLINKS) {
            Ok(fd) => Ok(Directory {
                fd,
                path: path.to_vec(),
            }),
            Err(Errno::LOOP) => {
                let fd = self.open_in_root(path, ResolveFlags::empty())?;
                let path = self.real_path(&fd)?;
                Ok(Directory { fd, path })
            }
            Err(errno) => Err(errno),
        }
    }

    /// Makes room for an entry: whatever has its name goes, with all below it.
    pub fn clear(&mut self, parent: &Directory, name: &[u8]) -> Result<()> {
        // A cached directory may be, or may be below, what is removed.
        self.last = None;
        let path = join(&parent.path, name);
        self.record.forget(&path);
        let shown = self.shown.join(String::from_utf8_lossy(&path).as_ref());
        remove_at(parent.fd.as_fd(), name, &shown)
    }

    /// An overlay whiteout of this layer.
    pub fn is_whiteout(&self, stat: &Stat) -> bool {
        self.format != Format::Plain && is_whiteout(stat)
    }

    /// Sets the times of directories, now that nothing more happens in them.
    pub fn finish_times(&mut self) -> Result<()> {
        const STEP: &str = "set a directory's times";
        for (path, (accessed, modified)) in std::mem::take(&mut self.record.times.0) {
            let (parent, name) = split(&path).unwrap_or((b"", b"."));
            let parent = self.find(parent).step(STEP)?;
            parent.node(name).set_times(accessed, modified).step(STEP)?;
        }
        Ok(())
    }

    fn open_in_root(&self, path: &[u8], more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | self.mounts;
        loop {
            match fs::openat2(
                &self.root,
                path,
                directory_flags(),
                Mode::empty(),
                within | more,
            ) {
                // Somewhere on this system something was renamed or mounted during the look-up of a `..`.
                Err(Errno::AGAIN) => continue,
                outcome => return outcome,
            }
        }
    }

    fn real_path(&self, fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
        let name = proc_name(fd)?;
        let below = name.strip_prefix(&self.root_name[..]).ok_or(Errno::XDEV)?;
        Ok(below.strip_prefix(b"/").unwrap_or(below).to_vec())
    }

    /// Walks down to `path` and makes what is missing. A link to something missing is followed, too: with the layers
    /// below it, its target is usually there.
    fn make(&mut self, path: &[u8]) -> Result<Directory> {
        let mut at = self.find(b"").map_err(resolve_failure)?;
        let mut todo: Vec<Vec<u8>> = reversed(path);
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match self.find(&join(&at.path, &name)) {
                Ok(found) => at = found,
                Err(Errno::NOENT) => {
                    check_length(&at.path, &name)?;
                    self.keep_times(&at)?;
                    let made = fs::mkdirat(&at.fd, &name[..], Mode::from_raw_mode(0o755));
                    if made == Err(Errno::EXIST) {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(resolve_failure(Errno::LOOP));
                        }
                        let target = fs::readlinkat(&at.fd, &name[..], Vec::new())
                            .step("follow a symbolic link")?;
                        if target.as_bytes().starts_with(b"/") {
                            at = self.find(b"").map_err(resolve_failure)?;
                        }
                        todo.extend(reversed(target.as_bytes()));
                        if todo.len() > MAX_DEPTH {
                            return Err(limit("a path has too many components"));
                        }
                        continue;
                    }
                    made.step("make a directory")?;
                    self.imply(&at, &name);
                    at = self.find(&join(&at.path, &name)).map_err(resolve_failure)?;
                }
                Err(Errno::NOTDIR) => at = self.replace(&at, &name)?,
                Err(errno) => return Err(resolve_failure(errno)),
            }
        }
        Ok(at)
    }

    /// Something that is no directory is where one must be. If the layer itself put a file there it contradicts itself.
    fn replace(&mut self, at: &Directory, name: &[u8]) -> Result<Directory> {
        let stat = at.node(name).stat().step("look at a file")?;
        let path = join(&at.path, name);
        let whiteout = self.is_whiteout(&stat);
        let parents = FileType::from_raw_mode(stat.st_mode) != FileType::Symlink
            && !self.record.is_ours(&path);
        if !whiteout && !parents {
            return Err(invalid("a file's parent is not a directory"));
        }
        self.clear(at, name)?;
        fs::mkdirat(&at.fd, name, Mode::from_raw_mode(0o755)).step("make a directory")?;
        self.imply(at, name);
        if whiteout {
            self.set_opaque(at, name)?;
        }
        self.find(&path).map_err(resolve_failure)
    }

    fn imply(&mut self, parent: &Directory, name: &[u8]) {
        let path = join(&parent.path, name);
        self.record.made(&path);
        self.record.implied.0.insert(path, ());
    }

    /// A directory of the parents that this layer does not describe keeps its times, though entries are made in it.
    fn keep_parents_times(&mut self, directory: &Directory) -> Result<()> {
        match &self.record.ours {
            Some(ours) if !ours.0.contains_key(&directory.path) => self.keep_times(directory),
            _ => Ok(()),
        }
    }

    /// What is made in the directory from here on does not show in its times, unless they are set otherwise.
    pub fn keep_times(&mut self, directory: &Directory) -> Result<()> {
        if !self.record.times.0.contains_key(&directory.path) {
            let stat = fs::fstat(&directory.fd).step("look at a directory")?;
            let times = stated_times(&stat);
            self.record.times.0.insert(directory.path.clone(), times);
        }
        Ok(())
    }
}

/// Accessed, modified.
pub fn stated_times(stat: &Stat) -> (Timespec, Timespec) {
    (
        timespec(stat.st_atime, stat.st_atime_nsec as i64),
        timespec(stat.st_mtime, stat.st_mtime_nsec as i64),
    )
}

/// Through links, more components can be waiting than a path has.
const MAX_DEPTH: usize = 1 << 16;

pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn proc_name(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let name = fs::readlinkat(CWD, link, Vec::new())?.into_bytes();
    Ok(if name == b"/" { Vec::new() } else { name })
}

fn resolve_failure(errno: Errno) -> Failure {
    match errno {
        Errno::LOOP => invalid("a path goes through too many symbolic links"),
        Errno::NAMETOOLONG => limit("a path or a part of it is too long"),
        errno => Failure::new("find a directory of the layer").errno(errno),
    }
}
