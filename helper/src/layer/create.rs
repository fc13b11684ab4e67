//! `archive.create`: parts of a root file system as a tar archive, over a pipe.

use std::ffi::CString;
use std::io::BufWriter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

use super::pack::{Packer, open_entry};
use super::path::join;
use crate::error::{Failure, Result, Step};
use crate::fs::bytes::Bytes;
use crate::fs::descent::Descent;
use crate::fs::node::{self, Names};
use crate::fs::root::{Access, Place, Root, kind, lossy, reopen};
use crate::fs::stream::Outlet;

const STEP: &str = "archive a directory";

#[derive(Deserialize)]
pub struct Create {
    #[serde(flatten)]
    place: Place,
    sources: Vec<Source>,
}

#[derive(Deserialize)]
struct Source {
    path: Bytes,
    /// What it is called in the archive; empty: a directory's entries have no prefix.
    name: Bytes,
    /// A symbolic link at the end of the path.
    #[serde(default)]
    follow: bool,
}

pub fn create(args: &Create, progress: &mut dyn FnMut(Value)) -> Result<Value> {
    let root = Root::open(&args.place, Access::Read)?;
    let find = |source: &Source| {
        let found = root.find(&source.path.0, source.follow);
        found.step_at("find a file", lossy(&source.path.0))
    };
    // Before a pipe is offered: that nothing is there is an answer, not an archive.
    let found = args.sources.iter().map(find).collect::<Result<Vec<_>>>()?;
    let outlet = BufWriter::with_capacity(256 << 10, Outlet::offer(progress)?);
    let mut packer = Packer::new(outlet);
    for (source, file) in args.sources.iter().zip(found) {
        let stat = fs::fstat(&file).step_at(STEP, lossy(&source.path.0))?;
        if kind(&stat) == FileType::Directory {
            let directory = reopen(file.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY);
            let directory = directory.step_at(STEP, lossy(&source.path.0))?;
            tree(&mut packer, directory, &source.name.0)?;
        } else {
            packer.file(file.as_fd(), &stat, &source.name.0)?;
        }
    }
    let entries = packer.entries;
    packer.finish()?;
    Ok(json!({ "entries": entries }))
}

struct Level {
    names: Names,
    device: u64,
}

fn tree<W: std::io::Write>(packer: &mut Packer<W>, top: OwnedFd, name: &[u8]) -> Result<()> {
    let mut way = Descent::new();
    let above = fs::fstat(&top).step(STEP)?.st_dev;
    enter(packer, &mut way, CString::default(), top, above, name)?;
    while let Some((directory, level)) = way.current() {
        let Some(entry) = level.names.pop() else {
            way.pop().step(STEP)?;
            continue;
        };
        let device = level.device;
        let Some(file) = open_entry(directory, entry.as_bytes()).step(STEP)? else {
            continue;
        };
        let stat = fs::fstat(&file).step(STEP)?;
        if kind(&stat) != FileType::Directory {
            let path = join(name, &way.path(&entry));
            packer.file(file.as_fd(), &stat, &path)?;
            continue;
        }
        match open_directory(directory, entry.as_bytes()) {
            Ok(opened) => enter(packer, &mut way, entry, opened, device, name)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => (), // replaced meanwhile
            Err(errno) => {
                let path = join(name, &way.path(&entry));
                return Err(Failure::new(STEP).errno(errno).path(lossy(&path)));
            }
        }
    }
    Ok(())
}

/// Writes a directory's entry and reads its names.
fn enter<W: std::io::Write>(
    packer: &mut Packer<W>,
    way: &mut Descent<Level>,
    entry: CString,
    directory: OwnedFd,
    above: u64,
    prefix: &[u8],
) -> Result<()> {
    let below = if way.is_empty() {
        Vec::new()
    } else {
        way.path(&entry)
    };
    let path = match (prefix, &below[..]) {
        (b"", b"") => b"./".to_vec(),
        (prefix, b"") => [prefix, b"/"].concat(),
        (prefix, below) => [&join(prefix, below)[..], b"/"].concat(),
    };
    let stat: Stat = fs::fstat(&directory).step_at(STEP, lossy(&path))?;
    packer.directory(directory.as_fd(), &stat, &path)?;
    let mut names = match stat.st_dev != above && is_pseudo(&directory).step(STEP)? {
        true => Vec::new(),
        false => node::names(directory.as_fd()).step_at(STEP, lossy(&path))?,
    };
    names.sort_unstable_by(|a, b| b.cmp(a));
    let device = stat.st_dev;
    way.push(entry, directory, Level { names, device })
        .step_at(STEP, lossy(&path))
}

/// Like a copy for people: what is mounted in the tree belongs to it.
fn open_directory(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(directory, name, flags, Mode::empty(), within)
}

/// The kernel's own file systems hold no files that a copy would be of any use of; asked for by name they are copied.
fn is_pseudo(directory: &OwnedFd) -> rustix::io::Result<bool> {
    const PROC: i64 = 0x9fa0;
    const SYSFS: i64 = 0x6265_6572;
    const CGROUP: i64 = 0x0027_e0eb;
    const CGROUP2: i64 = 0x6367_7270;
    const DEVPTS: i64 = 0x1cd1;
    const MQUEUE: i64 = 0x1980_0202;
    const DEBUGFS: i64 = 0x6462_6720;
    const TRACEFS: i64 = 0x7472_6163;
    const SECURITYFS: i64 = 0x7363_6673;
    let kind = fs::fstatfs(directory)?.f_type as i64;
    Ok([
        PROC, SYSFS, CGROUP, CGROUP2, DEVPTS, MQUEUE, DEBUGFS, TRACEFS, SECURITYFS,
    ]
    .contains(&kind))
}
