//! What a container changed: by its overlay's upper directory, or by comparing its tree with the one it began as.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attributes::is_allowed;
use super::merged::is_opaque;
use super::pack::xattrs;
use super::path::join;
use super::target::is_whiteout;
use crate::error::{Failure, Result, Step};
use crate::fs::bytes::Bytes;
use crate::fs::descent::Descent;
use crate::fs::facts::{deliver, type_name};
use crate::fs::node::{self, Names, Node};
use crate::fs::root::{Access, Place, Root, kind};
use crate::run::RootfsMount;

const STEP: &str = "compare a container with its image";

#[derive(Deserialize)]
pub struct Compare {
    /// The root file system as the container has it: an overlay with an upper directory, or a tree.
    pub rootfs: Vec<RootfsMount>,
    /// The one that it began as.
    pub base: Vec<RootfsMount>,
    /// Where something was mounted: what had to be made for that, empty files and directories, is no change.
    #[serde(default)]
    pub mountpoints: Vec<Bytes>,
}

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Added,
    Changed,
    Deleted,
}

#[derive(Serialize, Debug)]
pub struct Change {
    pub kind: What,
    /// Relative to the root.
    pub path: Bytes,
    #[serde(rename = "type")]
    pub file: &'static str,
}

/// `tree.diff`
pub fn diff(args: &Compare, progress: &mut dyn FnMut(Value)) -> Result<Value> {
    let (changes, _) = compare(args)?;
    deliver(&changes, progress)
}

/// The changes in the order of an archive, and the tree that has what was added and changed.
pub fn compare(args: &Compare) -> Result<(Vec<Change>, OwnedFd)> {
    let tree = match args.rootfs.last() {
        Some(RootfsMount::Overlay {
            upper: Some(upper), ..
        }) => Some(open_directory(upper)?),
        Some(RootfsMount::Bind { source, .. }) => Some(open_directory(source)?),
        _ => None,
    };
    let upper = matches!(args.rootfs.last(), Some(RootfsMount::Overlay { .. }));
    let base = base(&args.base)?;
    if let Some(tree) = tree {
        let mut walk = Walk::new(args, upper);
        match walk.run(&tree, &base) {
            // Directories that were renamed in place, or files without data of their own, are understood by overlay only.
            Err(Stop::Indirect) => (),
            Err(Stop::Failed(failure)) => return Err(failure),
            Ok(()) => return Ok((walk.finish(), tree)),
        }
    }
    let place = Place::Stored {
        rootfs: args.rootfs.clone(),
        binds: Vec::new(),
    };
    let merged = Root::open(&place, Access::Read)?.into_fd();
    let mut walk = Walk::new(args, false);
    match walk.run(&merged, &base) {
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Indirect) => Err(Failure::new(STEP).errno(Errno::STALE)),
        Ok(()) => Ok((walk.finish(), merged)),
    }
}

/// Mounted in a namespace of this process, whose own view of the host stays as it is but for that place.
fn base(parts: &[RootfsMount]) -> Result<OwnedFd> {
    let place = Place::Stored {
        rootfs: parts.to_vec(),
        binds: Vec::new(),
    };
    Ok(Root::open(&place, Access::Read)?.into_fd())
}

enum Stop {
    Failed(Failure),
    Indirect,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

struct Level {
    names: Names,
    /// The same directory of the base, when it has one.
    base: Option<OwnedFd>,
    /// Nothing of the base shows in it but what is there itself.
    complete: bool,
    /// Of the directory's own change, which may turn out to be none.
    index: usize,
    /// Whether that stands even if nothing in the directory changed.
    certain: bool,
    /// Whether it exists, as far as is known, only to hold mount points.
    added: bool,
    changes: usize,
    ignored: usize,
}

struct Walk<'a> {
    args: &'a Compare,
    upper: bool,
    changes: Vec<Option<Change>>,
}

impl<'a> Walk<'a> {
    fn new(args: &'a Compare, upper: bool) -> Self {
        Walk {
            args,
            upper,
            changes: Vec::new(),
        }
    }

    fn finish(self) -> Vec<Change> {
        self.changes.into_iter().flatten().collect()
    }

    fn run(&mut self, tree: &OwnedFd, base: &OwnedFd) -> Result<(), Stop> {
        let top = fs::openat(tree, ".", reading(), Mode::empty()).step(STEP)?;
        let base = fs::openat(base, ".", reading(), Mode::empty()).step(STEP)?;
        let (now, before) = (fs::fstat(&top).step(STEP)?, fs::fstat(&base).step(STEP)?);
        let certain = differs(top.as_fd(), &now, base.as_fd(), &before).step(STEP)?;
        let index = self.note(What::Changed, b".".to_vec(), FileType::Directory);
        let names = self.names(&top, Some(&base), !self.upper)?;
        let mut way = Descent::new();
        let level = Level {
            names,
            base: Some(base),
            complete: !self.upper,
            index,
            certain,
            added: false,
            changes: 0,
            ignored: 0,
        };
        way.push(CString::default(), top, level).step(STEP)?;
        while let Some((directory, level)) = way.current() {
            let Some(name) = level.names.pop() else {
                self.leave(&mut way)?;
                continue;
            };
            let base = level.base.as_ref();
            let before = base.map(|base| stat_in(base.as_fd(), &name));
            let before = before.transpose().step(STEP)?.flatten();
            let now = match stat_in(directory, &name).step(STEP)? {
                Some(stat) if self.upper && is_whiteout(&stat) => None,
                stat => stat,
            };
            let path = |way: &Descent<Level>| way.path(&name);
            let Some(now) = now else {
                if let Some(before) = before {
                    level.changes += 1;
                    let path = path(&way);
                    self.note(What::Deleted, path, kind(&before));
                }
                continue;
            };
            if kind(&now) == FileType::Directory {
                self.enter(&mut way, name, before.as_ref(), &now)?;
                continue;
            }
            if self.upper && kind(&now) == FileType::RegularFile && is_indirect(directory, &name) {
                return Err(Stop::Indirect);
            }
            let what = match &before {
                None => What::Added,
                Some(_) if self.upper => What::Changed,
                Some(before) => {
                    let Some(base) = base else { continue };
                    match same_file((directory, &now), (base.as_fd(), before), &name).step(STEP)? {
                        true => continue,
                        false => What::Changed,
                    }
                }
            };
            let empty = kind(&now) == FileType::RegularFile && now.st_size == 0;
            let path = path(&way);
            let for_mount = what == What::Added && empty && self.is_mountpoint(&path);
            match way.current() {
                Some((_, level)) if for_mount => level.ignored += 1,
                Some((_, level)) => {
                    level.changes += 1;
                    self.note(what, path, kind(&now));
                }
                None => (),
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        way: &mut Descent<Level>,
        name: CString,
        before: Option<&Stat>,
        now: &Stat,
    ) -> Result<(), Stop> {
        let path = way.path(&name);
        let Some((directory, level)) = way.current() else {
            return Ok(());
        };
        let opened = match node::open_directory(directory, name.as_bytes()) {
            // Removed or replaced meanwhile; a mount point when the tree is itself mounted over.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            opened => opened.step(STEP)?,
        };
        let node = Node::Open(opened.as_fd());
        if self.upper && is_redirected(node) {
            return Err(Stop::Indirect);
        }
        let complete = level.complete || (self.upper && is_opaque(node));
        let was_directory = before.is_some_and(|stat| kind(stat) == FileType::Directory);
        let base = match (&level.base, was_directory) {
            (Some(base), true) => Some(
                fs::openat(base, &name, reading() | OFlags::NOFOLLOW, Mode::empty()).step(STEP)?,
            ),
            _ => None,
        };
        let (what, certain) = match (before, &base) {
            (None, _) => (What::Added, true),
            (Some(_), None) => (What::Changed, true),
            (Some(before), Some(base)) => {
                let differs = differs(opened.as_fd(), now, base.as_fd(), before).step(STEP)?;
                (What::Changed, differs)
            }
        };
        let index = self.note(what, path, FileType::Directory);
        let names = self.names(&opened, base.as_ref(), complete)?;
        let level = Level {
            names,
            // A file that became a directory has nothing to compare with below.
            base,
            complete,
            index,
            certain,
            added: what == What::Added,
            changes: 0,
            ignored: 0,
        };
        way.push(name, opened, level).step(STEP)?;
        Ok(())
    }

    fn leave(&mut self, way: &mut Descent<Level>) -> Result<(), Stop> {
        // Its path is known only as long as it is the present one.
        let path = way.path(c"");
        let Some((_, level)) = way.pop().step(STEP)? else {
            return Ok(());
        };
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        let for_mounts =
            level.added && level.changes == 0 && (level.ignored > 0 || self.is_mountpoint(path));
        let parent = way.current().map(|(_, parent)| parent);
        // The root is there in any case.
        let stands = !for_mounts && (level.certain || (level.changes > 0 && parent.is_some()));
        if !stands {
            self.changes[level.index] = None;
        }
        if let Some(parent) = parent {
            parent.changes += usize::from(stands);
            parent.ignored += usize::from(for_mounts);
        }
        Ok(())
    }

    /// Those to look at, last first.
    fn names(&self, tree: &OwnedFd, base: Option<&OwnedFd>, complete: bool) -> Result<Names> {
        let mut names = node::names(tree.as_fd()).step(STEP)?;
        if let (true, Some(base)) = (complete, base) {
            names.extend(node::names(base.as_fd()).step(STEP)?);
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        names.dedup();
        Ok(names)
    }

    fn note(&mut self, kind: What, path: Vec<u8>, file: FileType) -> usize {
        self.changes.push(Some(Change {
            kind,
            path: Bytes(path),
            file: type_name(file),
        }));
        self.changes.len() - 1
    }

    fn is_mountpoint(&self, path: &[u8]) -> bool {
        let inner = |point: &Bytes| point.0.iter().position(|b| *b != b'/').unwrap_or(0);
        self.args
            .mountpoints
            .iter()
            .any(|point| &point.0[inner(point)..] == path)
    }
}

/// Mode, owner and extended attributes. A directory's times say only that something in it did, or did not stay, changed.
fn differs(
    tree: BorrowedFd<'_>,
    now: &Stat,
    base: BorrowedFd<'_>,
    before: &Stat,
) -> rustix::io::Result<bool> {
    let facts = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    Ok(facts(now) != facts(before) || xattrs(tree)? != xattrs(base)?)
}

/// The same in everything but, perhaps, bytes that were changed within a file whose time and size were kept.
fn same_file(
    (tree, now): (BorrowedFd<'_>, &Stat),
    (base, before): (BorrowedFd<'_>, &Stat),
    name: &CString,
) -> rustix::io::Result<bool> {
    let facts = |stat: &Stat| {
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        (
            stat.st_mode,
            stat.st_uid,
            stat.st_gid,
            stat.st_size,
            stat.st_rdev,
            time,
        )
    };
    if facts(now) != facts(before) {
        return Ok(false);
    }
    if kind(now) == FileType::Symlink {
        return Ok(
            fs::readlinkat(tree, name, Vec::new())? == fs::readlinkat(base, name, Vec::new())?
        );
    }
    Ok(own_xattrs(tree, name)? == own_xattrs(base, name)?)
}

fn own_xattrs(
    directory: BorrowedFd<'_>,
    name: &CString,
) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let node = Node::Entry(directory, name.as_bytes());
    let mut found = Vec::new();
    for name in node.xattr_names()? {
        if is_allowed(&name) {
            let value = node.xattr(&name)?;
            found.push((name, value));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn stat_in(directory: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<Option<Stat>> {
    match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => stat.map(Some),
    }
}

/// The data is another file's (`metacopy`).
fn is_indirect(directory: BorrowedFd<'_>, name: &CString) -> bool {
    let node = Node::Entry(directory, name.as_bytes());
    let marks = [&b"trusted.overlay.metacopy"[..], b"user.overlay.metacopy"];
    marks.into_iter().any(|mark| node.xattr(mark).is_ok())
}

fn is_redirected(node: Node<'_>) -> bool {
    let marks = [&b"trusted.overlay.redirect"[..], b"user.overlay.redirect"];
    marks.into_iter().any(|mark| node.xattr(mark).is_ok())
}

fn reading() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn open_directory(path: &PathBuf) -> Result<OwnedFd> {
    fs::open(path, reading(), Mode::empty()).step_at(STEP, path)
}

/// A changed file, opened by `O_PATH`, where no symbolic link leads to; `None` when it is gone.
pub fn open_changed(tree: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat2(tree, path, flags, Mode::empty(), within) {
        // NO_SYMLINKS refuses one at the end, too: there it is what is wanted.
        Err(Errno::LOOP) => {
            let (parent, name) = super::path::split(path).unwrap_or((b"", path));
            let parent = if parent.is_empty() { b"." } else { parent };
            let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = match fs::openat2(tree, parent, directory, Mode::empty(), within) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                parent => parent?,
            };
            super::pack::open_entry(parent.as_fd(), name)
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        opened => opened.map(Some),
    }
}

/// `.wh.name` beside it.
pub fn whiteout_of(path: &[u8]) -> Vec<u8> {
    let (parent, name) = super::path::split(path).unwrap_or((b"", path));
    join(parent, &[b".wh.", name].concat())
}
