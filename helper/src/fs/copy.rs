//! `tree.copy`: the same tree again, with everything that can be told apart: owners, modes, extended attributes, times,
//! hard links, holes, devices. Contents are shared where the file system can do that.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::descent::Descent;
use super::node::{self, Names, Node, timespec};
use crate::error::{Failure, Result, Step};

const STEP: &str = "copy a tree";

#[derive(Deserialize)]
pub struct Copy {
    from: PathBuf,
    to: PathBuf,
}

#[derive(Serialize, Debug)]
pub struct Copied {
    /// Contents, counted by the length of what is not a hole.
    pub bytes: u64,
}

/// A directory while its entries are copied.
struct Level {
    names: Names,
    stat: Stat,
}

/// `to` is made, or is an empty directory.
pub fn copy(args: &Copy) -> Result<Copied> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = fs::open(&args.from, flags, Mode::empty()).step_at(STEP, &args.from)?;
    match fs::mkdir(&args.to, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => (),
        Err(errno) => return Err(errno).step_at(STEP, &args.to),
    }
    let to = fs::open(&args.to, flags | OFlags::NOFOLLOW, Mode::empty()).step_at(STEP, &args.to)?;
    if !node::names(to.as_fd()).step_at(STEP, &args.to)?.is_empty() {
        return Err(Failure::new(STEP).errno(Errno::NOTEMPTY).path(&args.to));
    }
    copy_directory(from, to).map_err(|failure| match failure.path {
        Some(ref inner) => failure.clone().path(args.from.join(inner)),
        None => failure.path(&args.from),
    })
}

/// Both are open for reading, and `to` is empty.
pub fn copy_directory(from: OwnedFd, to: OwnedFd) -> Result<Copied> {
    let root = to.try_clone().step(STEP)?;
    let mut tree = Tree {
        root: root.as_fd(),
        links: HashMap::new(),
        bytes: 0,
    };
    tree.copy(from, to)?;
    Ok(Copied { bytes: tree.bytes })
}

struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Where the first name of a file with several names was written.
    links: HashMap<(u64, u64), Vec<u8>>,
    bytes: u64,
}

impl Tree<'_> {
    fn copy(&mut self, from: OwnedFd, to: OwnedFd) -> Result<()> {
        // Two ways through two trees, always at the same place.
        let (mut old, mut new) = (Descent::new(), Descent::new());
        enter(&mut old, CString::default(), from)?;
        new.push(CString::default(), to, ()).step(STEP)?;
        while let (Some((from, level)), Some((to, ()))) = (old.current(), new.current()) {
            let Some(name) = level.names.pop() else {
                // A directory's times come last: every entry made in it changed them.
                attributes(Node::Open(from), Node::Open(to), &level.stat)?;
                old.pop().step(STEP)?;
                new.pop().step(STEP)?;
                continue;
            };
            let stat = Node::Entry(from, name.as_bytes()).stat().step(STEP)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let opened = node::open_directory(from, name.as_bytes());
                let made = make_directory(to, name.as_bytes());
                let at = |failure: Failure| failure.path(lossy(&old.path(&name)));
                let from = match opened {
                    Err(Errno::XDEV) => return Err(at(node::mounted(STEP))),
                    opened => opened.step(STEP).map_err(at)?,
                };
                new.push(name.clone(), made.map_err(at)?, ()).step(STEP)?;
                enter(&mut old, name, from)?;
                continue;
            }
            let path = new.path(&name);
            let (Some((from, _)), Some((to, ()))) = (old.current(), new.current()) else {
                break;
            };
            self.entry(
                Node::Entry(from, name.as_bytes()),
                &stat,
                to,
                name.as_bytes(),
                &path,
            )
            .map_err(|failure| failure.path(lossy(&path)))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: Node<'_>,
        stat: &Stat,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<()> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return fs::linkat(self.root, first, to, name, AtFlags::empty()).step(STEP);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        self.bytes += copy_node(from, stat, to, name)?;
        Ok(())
    }
}

/// Copies one file that is not a directory, with its attributes; the bytes of its contents.
pub fn copy_node(from: Node<'_>, stat: &Stat, to: BorrowedFd<'_>, name: &[u8]) -> Result<u64> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let made = Node::Entry(to, name);
    let mut bytes = 0;
    match kind {
        FileType::RegularFile => {
            let Node::Entry(dir, entry) = from else {
                return Err(Failure::new(STEP).errno(Errno::INVAL));
            };
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source =
                fs::openat(dir, entry, flags | OFlags::RDONLY, Mode::empty()).step(STEP)?;
            let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let target = fs::openat(to, name, create, Mode::RUSR | Mode::WUSR).step(STEP)?;
            bytes = contents(source.as_fd(), target.as_fd(), stat.st_size as u64)?;
            attributes(Node::Open(source.as_fd()), Node::Open(target.as_fd()), stat)?;
            return Ok(bytes);
        }
        FileType::Symlink => {
            let Node::Entry(dir, entry) = from else {
                return Err(Failure::new(STEP).errno(Errno::INVAL));
            };
            let target = fs::readlinkat(dir, entry, Vec::new()).step(STEP)?;
            fs::symlinkat(target.as_c_str(), to, name).step(STEP)?;
        }
        _ => {
            let mode = Mode::from_raw_mode(stat.st_mode);
            fs::mknodat(to, name, kind, mode, stat.st_rdev).step(STEP)?;
        }
    }
    attributes(from, made, stat)?;
    Ok(bytes)
}

/// Owner, mode, extended attributes, times, of a file that is made like another: in this order, as a change of owner clears set-id bits and capabilities.
pub fn attributes(from: Node<'_>, to: Node<'_>, stat: &Stat) -> Result<()> {
    to.set_owner(Some(stat.st_uid), Some(stat.st_gid))
        .step("copy the owner")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        to.set_mode(stat.st_mode).step("copy the mode")?;
    }
    for name in from.xattr_names().step("copy extended attributes")? {
        let value = from.xattr(&name).step("copy extended attributes")?;
        match to.set_xattr(&name, &value) {
            // The kernel shows a label on every file where SELinux runs; whether it can be set is the policy's affair.
            Err(_) if name == b"security.selinux" => (),
            outcome => outcome.step("copy extended attributes")?,
        }
    }
    let accessed = timespec(stat.st_atime, stat.st_atime_nsec as i64);
    let modified = timespec(stat.st_mtime, stat.st_mtime_nsec as i64);
    to.set_times(accessed, modified).step("copy the times")
}

/// A clone if the file system shares blocks; else only what is not a hole, moved inside of the kernel.
fn contents(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<u64> {
    const STEP: &str = "copy a file";
    if size == 0 {
        return Ok(0);
    }
    if fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(size);
    }
    fs::ftruncate(to, size).step(STEP)?;
    let (mut position, mut copied) = (0, 0);
    while position < size {
        let start = match fs::seek(from, SeekFrom::Data(position)) {
            Err(Errno::NXIO) => break, // nothing but a hole up to the end
            start => start.step(STEP)?,
        };
        let end = fs::seek(from, SeekFrom::Hole(start)).step(STEP)?.min(size);
        position = start;
        while position < end {
            let moved = range(from, to, position, end - position)?;
            if moved == 0 {
                return Ok(copied); // shortened meanwhile
            }
            position += moved;
            copied += moved;
        }
    }
    Ok(copied)
}

fn range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, position: u64, length: u64) -> Result<u64> {
    const STEP: &str = "copy a file";
    let (mut input, mut output) = (position, position);
    let length = usize::try_from(length.min(1 << 30)).unwrap_or(1 << 30);
    match fs::copy_file_range(from, Some(&mut input), to, Some(&mut output), length) {
        Ok(moved) => Ok(moved as u64),
        // Between some file systems it is not possible.
        Err(Errno::XDEV | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => {
            let mut buffer = vec![0; length.min(256 << 10)];
            let read = rustix::io::pread(from, &mut buffer, position).step(STEP)?;
            let mut written = 0;
            while written < read {
                let at = position + written as u64;
                written += rustix::io::pwrite(to, &buffer[written..read], at).step(STEP)?;
            }
            Ok(read as u64)
        }
        Err(errno) => Err(errno).step(STEP),
    }
}

fn enter(way: &mut Descent<Level>, name: CString, from: OwnedFd) -> Result<()> {
    let names = node::names(from.as_fd()).step(STEP)?;
    let stat = fs::fstat(&from).step(STEP)?;
    way.push(name, from, Level { names, stat }).step(STEP)
}

fn make_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    fs::mkdirat(parent, name, Mode::RWXU).step(STEP)?;
    node::open_directory(parent, name).step(STEP)
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
