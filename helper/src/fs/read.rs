//! `fs.read`, `fs.stat`, `fs.list`: looking into a root file system.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bytes::Bytes;
use super::errno;
use super::facts::{Facts, deliver};
use super::node::{self, Node};
use super::root::{Access, Place, Root, kind, lossy, reopen};
use super::stream::Outlet;
use crate::error::{Result, Step};
use crate::layer::base64;

#[derive(Deserialize)]
pub struct Read {
    #[serde(flatten)]
    place: Place,
    paths: Vec<Bytes>,
    /// Bytes of one file; a larger one is answered with EFBIG, not cut.
    limit: u64,
}

#[derive(Serialize)]
pub struct Files {
    files: Vec<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum File {
    Data(String),
    Errno(String),
}

pub fn read(args: &Read) -> Result<Files> {
    let root = Root::open(&args.place, Access::Read)?;
    let answer = |path: &Bytes| match read_file(&root, &path.0, args.limit) {
        Ok(bytes) => File::Data(base64::encode(&bytes)),
        Err(errno) => File::Errno(errno::name(errno)),
    };
    Ok(Files {
        files: args.paths.iter().map(answer).collect(),
    })
}

fn read_file(root: &Root, path: &[u8], limit: u64) -> rustix::io::Result<Vec<u8>> {
    let file = open_file(root, path)?;
    let stat = fs::fstat(&file)?;
    if stat.st_size as u64 > limit {
        return Err(Errno::FBIG);
    }
    // Files of /proc have content and no size, and any file may grow.
    let mut bytes = Vec::with_capacity(stat.st_size as usize + 1);
    let mut piece = vec![0; 64 << 10];
    loop {
        match rustix::io::read(&file, &mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
        if bytes.len() as u64 > limit {
            return Err(Errno::FBIG);
        }
    }
}

/// Opening a device or a fifo for reading could do something, or wait: only a regular file is opened.
fn open_file(root: &Root, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let found = root.find(path, true)?;
    match kind(&fs::fstat(&found)?) {
        FileType::RegularFile => reopen(found.as_fd(), OFlags::RDONLY),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

#[derive(Deserialize)]
pub struct Open {
    #[serde(flatten)]
    place: Place,
    path: Bytes,
}

/// `fs.open`: one file of any size, over a pipe. Its length when it is through.
pub fn open(args: &Open, progress: &mut dyn FnMut(Value)) -> Result<Value> {
    const STEP: &str = "read a file";
    let root = Root::open(&args.place, Access::Read)?;
    let at = lossy(&args.path.0);
    let file = open_file(&root, &args.path.0).step_at(STEP, at)?;
    let mut piece = vec![0; 256 << 10];
    let mut total = 0;
    let mut outlet: Option<Outlet> = None;
    loop {
        let length = match rustix::io::read(&file, &mut piece) {
            Err(Errno::INTR) => continue,
            length => length.step_at(STEP, at)?,
        };
        if length == 0 {
            // An empty file never makes a pipe: nothing could show that it was opened.
            return Ok(json!({ "bytes": total }));
        }
        total += length;
        let outlet = match &mut outlet {
            Some(outlet) => outlet,
            none => none.insert(Outlet::offer(progress)?),
        };
        outlet.write_all(&piece[..length]).step(STEP)?;
    }
}

#[derive(Deserialize)]
pub struct Look {
    #[serde(flatten)]
    place: Place,
    path: Bytes,
    follow: bool,
}

pub fn stat(args: &Look) -> Result<Facts> {
    const STEP: &str = "look at a file";
    let root = Root::open(&args.place, Access::Read)?;
    let found = root.find(&args.path.0, args.follow);
    let facts = found.and_then(|file| Facts::of(file.as_fd()));
    facts.step_at(STEP, lossy(&args.path.0))
}

#[derive(Deserialize)]
pub struct List {
    #[serde(flatten)]
    place: Place,
    path: Bytes,
}

#[derive(Serialize)]
struct Named {
    name: Bytes,
    #[serde(flatten)]
    facts: Facts,
}

/// Sorted by the bytes of the names.
pub fn list(args: &List, progress: &mut dyn FnMut(Value)) -> Result<Value> {
    const STEP: &str = "read a directory";
    let root = Root::open(&args.place, Access::Read)?;
    let at = lossy(&args.path.0);
    let found = root.find(&args.path.0, true).step_at(STEP, at)?;
    if kind(&fs::fstat(&found).step_at(STEP, at)?) != FileType::Directory {
        return Err(Errno::NOTDIR).step_at(STEP, at);
    }
    let mut names = node::names(found.as_fd()).step_at(STEP, at)?;
    names.sort_unstable();
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        let stat = match Node::Entry(found.as_fd(), name.as_bytes()).stat() {
            Err(Errno::NOENT) => continue, // removed meanwhile
            stat => stat.step_at(STEP, at)?,
        };
        let link = match kind(&stat) {
            FileType::Symlink => fs::readlinkat(&found, &name, Vec::new())
                .ok()
                .map(|target| target.into_bytes()),
            _ => None,
        };
        entries.push(Named {
            name: Bytes(name.into_bytes()),
            facts: Facts::new(&stat, link),
        });
    }
    deliver(&entries, progress)
}
