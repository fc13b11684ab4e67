//! From entries to files.

use std::os::fd::AsFd;
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;

use super::attributes::{self, Owners, Skipped};
use super::path::{Name, check_length, classify, join, link_target, plain};
use super::tar::{Entry, Kind, Reader, Stream, invalid, limit};
use super::target::{Directory, Format, Target};
use crate::error::{Result, Step};
use crate::fs::node::Node;

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Devices {
    Create,
    Skip,
}

pub struct Writer {
    pub target: Target,
    pub devices: Devices,
    pub owners: Owners,
    pub skipped: Skipped,
}

impl Writer {
    pub fn write<S: Stream>(&mut self, entry: &Entry, reader: &mut Reader<S>) -> Result<()> {
        match classify(&entry.path)? {
            Name::Bookkeeping => Ok(()),
            Name::Whiteout { parent, name } => self.target.whiteout(&parent, name),
            Name::Opaque { parent } => self.target.opaque(&parent),
            Name::Root if entry.kind == Kind::Directory => {
                let root = self.target.directory(b"")?;
                self.describe_directory(&root, b".", entry, true)
            }
            Name::Root => Err(invalid("the layer's root is not a directory")),
            Name::Entry { parent, name } => {
                let parent = self.target.directory(&parent)?;
                check_length(&parent.path, name)?;
                self.entry(&parent, name, entry, reader)
            }
        }
    }

    /// The same without whiteouts: a name is only a name.
    pub fn extract<S: Stream>(&mut self, entry: &Entry, reader: &mut Reader<S>) -> Result<()> {
        match plain(&entry.path)? {
            None if entry.kind == Kind::Directory => {
                let root = self.target.directory(b"")?;
                self.describe_directory(&root, b".", entry, true)
            }
            None => Err(invalid("the archive's root is not a directory")),
            Some((parent, name)) => {
                let parent = self.target.directory(&parent)?;
                check_length(&parent.path, name)?;
                self.entry(&parent, name, entry, reader)
            }
        }
    }

    fn entry<S: Stream>(
        &mut self,
        parent: &Rc<Directory>,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<S>,
    ) -> Result<()> {
        match &entry.kind {
            Kind::File => self.file(parent, name, entry, reader),
            Kind::Directory => self.directory(parent, name, entry),
            Kind::Symlink(target) => {
                if target.is_empty() {
                    return Err(invalid("a symbolic link has no target"));
                }
                let make = || fs::symlinkat(&target[..], &parent.fd, name);
                self.place("make a symbolic link", parent, name, make)?;
                self.describe(parent, name, entry)
            }
            Kind::Hardlink(target) => self.hard_link(parent, name, target),
            Kind::Fifo => self.special(parent, name, entry, FileType::Fifo, 0),
            Kind::Character { major: 0, minor: 0 } => {
                self.skipped.devices += 1;
                Ok(())
            }
            Kind::Character { .. } | Kind::Block { .. } if self.devices == Devices::Skip => {
                self.skipped.devices += 1;
                Ok(())
            }
            Kind::Character { major, minor } => {
                let device = fs::makedev(*major, *minor);
                self.special(parent, name, entry, FileType::CharacterDevice, device)
            }
            Kind::Block { major, minor } => {
                let device = fs::makedev(*major, *minor);
                self.special(parent, name, entry, FileType::BlockDevice, device)
            }
        }
    }

    fn file<S: Stream>(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<S>,
    ) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || fs::openat(&parent.fd, name, flags, Mode::RUSR | Mode::WUSR);
        let file = self.place("make a file", parent, name, make)?;
        let mut end = 0;
        reader.data(&mut |offset, mut bytes| {
            let mut at = offset;
            while !bytes.is_empty() {
                let written = match rustix::io::pwrite(&file, bytes, at) {
                    Err(Errno::INTR) => continue,
                    written => written.step("write a file")?,
                };
                at += written as u64;
                bytes = &bytes[written..];
            }
            end = at;
            Ok(())
        })?;
        if end < entry.size {
            fs::ftruncate(&file, entry.size).step("write a file")?;
        }
        let node = Node::Open(file.as_fd());
        attributes::set(node, entry, self.owners, &mut self.skipped)?;
        let (accessed, modified) = attributes::times(entry);
        node.set_times(accessed, modified).step("set the times")
    }

    /// A directory that is there is described anew, and keeps its content.
    fn directory(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        const STEP: &str = "make a directory";
        let make = || fs::mkdirat(&parent.fd, name, Mode::RWXU);
        let existing = match make() {
            Err(Errno::EXIST) => {
                let stat = parent.node(name).stat().step(STEP)?;
                let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if !directory {
                    self.target.clear(parent, name)?;
                    make().step(STEP)?;
                    // What was there hid a lower directory's files, and a new directory must not show them again.
                    self.target.set_opaque(parent, name)?;
                }
                directory
            }
            Err(Errno::NAMETOOLONG) => return Err(limit("a name is too long")),
            made => made.map(|()| false).step(STEP)?,
        };
        self.describe_directory(parent, name, entry, existing)
    }

    fn describe_directory(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        existing: bool,
    ) -> Result<()> {
        let directory = self
            .target
            .open_own(parent, name)
            .step("open a directory")?;
        let node = Node::Open(directory.as_fd());
        if existing && !self.target.merges() {
            remove_other_xattrs(node, entry)?;
        }
        attributes::set(node, entry, self.owners, &mut self.skipped)?;
        let path = match name {
            b"." => parent.path.clone(),
            name => join(&parent.path, name),
        };
        self.target.record.made(&path);
        self.target.record.implied.0.remove(&path);
        let times = attributes::times(entry);
        self.target.record.times.0.insert(path, times);
        Ok(())
    }

    fn hard_link(&mut self, parent: &Directory, name: &[u8], target: &[u8]) -> Result<()> {
        const STEP: &str = "make a hard link";
        let (target_parent, target_name) = link_target(target)?;
        let found = match self.target.find(&target_parent) {
            Ok(directory) => match directory.node(target_name).stat() {
                Ok(stat) => Some((directory, stat)),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno).step(STEP),
            },
            Err(Errno::NOENT) => None,
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(invalid("a hard link names no file")),
            Err(errno) => return Err(errno).step(STEP),
        };
        let path = join(&parent.path, name);
        let Some((directory, stat)) = found else {
            return self.link_to_parents(parent, name, path, target);
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(invalid("a hard link names a directory"));
        }
        if self.target.is_whiteout(&stat) {
            return Err(invalid(
                "a hard link names a file that its own layer removes",
            ));
        }
        let target = join(&directory.path, target_name);
        if target == path {
            return Ok(());
        }
        if target.starts_with(&[&path[..], b"/"].concat()[..]) {
            return Err(invalid(
                "a hard link names a file inside of what it replaces",
            ));
        }
        let make = || {
            fs::linkat(
                &directory.fd,
                target_name,
                &parent.fd,
                name,
                AtFlags::empty(),
            )
        };
        self.place(STEP, parent, name, make)
    }

    /// The file must be in a lower layer, which may not have been applied yet. `layer.inherit` makes the link.
    fn link_to_parents(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: Vec<u8>,
        target: &[u8],
    ) -> Result<()> {
        if self.target.format == Format::Plain {
            return Err(invalid("a hard link names a missing file"));
        }
        self.target.clear(parent, name)?;
        self.target.record.link(path, target);
        Ok(())
    }

    fn special(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<()> {
        let make = || fs::mknodat(&parent.fd, name, kind, Mode::RUSR, device);
        self.place("make a special file", parent, name, make)?;
        self.describe(parent, name, entry)
    }

    fn describe(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        let node = parent.node(name);
        attributes::set(node, entry, self.owners, &mut self.skipped)?;
        let (accessed, modified) = attributes::times(entry);
        node.set_times(accessed, modified).step("set the times")
    }

    /// Makes an entry; one of the same name before it, of this layer or of the parents, goes.
    fn place<T>(
        &mut self,
        step: &str,
        parent: &Directory,
        name: &[u8],
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        let made = match make() {
            Err(Errno::EXIST) => {
                self.target.clear(parent, name)?;
                make()
            }
            made => made,
        };
        let made = match made {
            Err(Errno::NAMETOOLONG) => {
                return Err(limit("a name or a link's target is too long"));
            }
            made => made.step(step)?,
        };
        self.target.record.made(&join(&parent.path, name));
        Ok(made)
    }
}

/// A directory that existed had attributes of its own; an entry describes it completely.
fn remove_other_xattrs(node: Node<'_>, entry: &Entry) -> Result<()> {
    const STEP: &str = "remove an extended attribute";
    for name in node.xattr_names().step(STEP)? {
        let described = entry.xattrs.iter().any(|(kept, _)| *kept == name);
        if !described && attributes::is_allowed(&name) {
            node.remove_xattr(&name).step(STEP)?;
        }
    }
    Ok(())
}
