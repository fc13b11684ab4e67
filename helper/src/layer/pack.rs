//! From files to entries. The files may be changing: what was opened is what is described, and as many bytes follow as the
//! header says.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;

use super::attributes::is_allowed;
use super::tar::writer::Writer;
use super::tar::{Entry, Kind, Time};
use crate::error::{Failure, Result, Step};
use crate::fs::node::Node;
use crate::fs::root::{kind, lossy, reopen};

const STEP: &str = "archive a file";
const PIECE: usize = 256 << 10;
/// Files of /proc have content and no size: as much of it as has to be known before the header is written.
const SIZELESS: usize = 4 << 20;

pub struct Packer<W> {
    writer: Writer<W>,
    /// Where the first name of a file with several names was written.
    links: HashMap<(u64, u64), Vec<u8>>,
    piece: Vec<u8>,
    pub entries: u64,
}

impl<W: Write> Packer<W> {
    pub fn new(output: W) -> Self {
        Packer {
            writer: Writer::new(output),
            links: HashMap::new(),
            piece: vec![0; PIECE],
            entries: 0,
        }
    }

    /// One file that is not a directory, opened by `O_PATH`; what has no form in an archive (sockets) is left out.
    pub fn file(&mut self, file: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> Result<()> {
        let at = |errno: Errno| Failure::new(STEP).errno(errno).path(lossy(path));
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                let kind = Kind::Hardlink(first.clone());
                return self.plain(&describe(stat, path, kind, Vec::new()));
            }
            self.links.insert(identity, path.to_vec());
        }
        let device = || (major(stat.st_rdev), minor(stat.st_rdev));
        let what = match kind(stat) {
            FileType::RegularFile => return self.regular(file, stat, path),
            FileType::Symlink => Kind::Symlink(
                fs::readlinkat(file, "", Vec::new())
                    .map_err(at)?
                    .into_bytes(),
            ),
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => {
                let (major, minor) = device();
                Kind::Character { major, minor }
            }
            FileType::BlockDevice => {
                let (major, minor) = device();
                Kind::Block { major, minor }
            }
            _ => return Ok(()),
        };
        self.plain(&describe(stat, path, what, Vec::new()))
    }

    /// A directory, opened for reading. `path` ends with a slash.
    pub fn directory(&mut self, directory: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> Result<()> {
        let xattrs = xattrs(directory).step_at(STEP, lossy(path))?;
        self.plain(&describe(stat, path, Kind::Directory, xattrs))
    }

    /// An empty file of this name, as whiteouts are.
    pub fn mark(&mut self, path: Vec<u8>) -> Result<()> {
        self.plain(&Entry {
            path,
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
            size: 0,
        })
    }

    pub fn finish(self) -> Result<W> {
        self.writer.finish().step("write the archive")
    }

    fn plain(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.writer.header(entry).step("write the archive")
    }

    fn regular(&mut self, found: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> Result<()> {
        let at = lossy(path);
        let file = reopen(found, OFlags::RDONLY).step_at(STEP, at)?;
        let mut entry = describe(
            stat,
            path,
            Kind::File,
            xattrs(file.as_fd()).step_at(STEP, at)?,
        );
        entry.size = stat.st_size as u64;
        let mut start = Vec::new();
        if entry.size == 0 {
            start = self.sizeless(&file).step_at(STEP, at)?;
            entry.size = start.len() as u64;
        }
        self.plain(&entry)?;
        self.writer.data(&start).step("write the archive")?;
        let mut left = entry.size - start.len() as u64;
        while left > 0 {
            let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let length = match rustix::io::read(&file, &mut self.piece[..most]) {
                Err(Errno::INTR) => continue,
                length => length.step_at(STEP, at)?,
            };
            if length == 0 {
                // Somebody made it shorter; the header is written already.
                self.piece.fill(0);
                let piece = &self.piece[..most];
                self.writer.data(piece).step("write the archive")?;
                left -= most as u64;
                continue;
            }
            self.writer
                .data(&self.piece[..length])
                .step("write the archive")?;
            left -= length as u64;
        }
        self.writer.pad().step("write the archive")
    }

    fn sizeless(&mut self, file: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        while content.len() < SIZELESS {
            match rustix::io::read(file, &mut self.piece) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(length) => content.extend_from_slice(&self.piece[..length]),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno),
            }
        }
        Ok(content)
    }
}

/// An entry of a directory, opened by `O_PATH`; `None` when it was removed meanwhile.
pub fn open_entry(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        opened => opened.map(Some),
    }
}

fn describe(stat: &Stat, path: &[u8], kind: Kind, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec as u32,
        },
        xattrs,
        size: 0,
    }
}

/// Those that belong to the file: neither overlay's own nor the host's policy.
pub fn xattrs(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let node = Node::Open(file);
    let mut xattrs = Vec::new();
    for name in node.xattr_names()? {
        if !is_allowed(&name) {
            continue;
        }
        match node.xattr(&name) {
            Ok(value) => xattrs.push((name, value)),
            Err(Errno::NODATA) => (), // removed meanwhile
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}
