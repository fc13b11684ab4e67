//! `fs.write`, `fs.mkdir`, `fs.remove`: changing a root file system.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bytes::Bytes;
use super::node::{self, Node};
use super::remove::remove_at;
use super::root::{Access, Place, Root, kind, lossy, reopen, split};
use super::stream::Inlet;
use crate::error::{Failure, Result, Step};
use crate::layer::base64;

#[derive(Deserialize)]
pub struct Write {
    #[serde(flatten)]
    place: Place,
    path: Bytes,
    /// Base64; absent: over a pipe.
    data: Option<String>,
    flag: Flag,
    #[serde(flatten)]
    attributes: Attributes,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
enum Flag {
    #[serde(rename = "w")]
    Replace,
    #[serde(rename = "a")]
    Append,
    #[serde(rename = "wx")]
    Create,
}

/// Owner and mode. Where nothing is said, what is made belongs to root.
#[derive(Deserialize, Clone, Copy)]
struct Attributes {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
}

impl Attributes {
    /// A change of owner takes away set-id bits, and so does writing: the mode comes last.
    fn set(self, file: &OwnedFd, made: bool, mode: u32) -> rustix::io::Result<()> {
        let node = Node::Open(file.as_fd());
        if self.uid.is_some() || self.gid.is_some() {
            node.set_owner(self.uid, self.gid)?;
        }
        match self.mode.or(made.then_some(mode)) {
            Some(mode) => node.set_mode(mode),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
pub struct Written {
    bytes: u64,
}

pub fn write(args: &Write, progress: &mut dyn FnMut(Value)) -> Result<Written> {
    const STEP: &str = "write a file";
    let at = lossy(&args.path.0);
    let data = match &args.data {
        None => None,
        Some(text) => Some(base64::decode(text.as_bytes()).ok_or_else(|| {
            Failure::kind("decode the request", "protocol").detail("data is not base64")
        })?),
    };
    let root = Root::open(&args.place, Access::Write)?;
    let (file, made) = open_for_writing(&root, &args.path.0, args.flag).step_at(STEP, at)?;
    let mut bytes = 0;
    match data {
        Some(data) => {
            write_all(&file, &data).step_at(STEP, at)?;
            bytes = data.len() as u64;
        }
        None => {
            let mut inlet = Inlet::offer(progress)?;
            let mut piece = vec![0; 256 << 10];
            loop {
                let length = inlet.read(&mut piece).step("read a pipe")?;
                if length == 0 {
                    break;
                }
                write_all(&file, &piece[..length]).step_at(STEP, at)?;
                bytes += length as u64;
            }
        }
    }
    args.attributes.set(&file, made, 0o644).step_at(STEP, at)?;
    Ok(Written { bytes })
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Err(Errno::INTR) => (),
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// The file and whether it was made. A symbolic link to nothing is followed: the file it names is made. Never is anything
/// but a regular file opened for writing: a device's driver could act on that alone.
fn open_for_writing(root: &Root, path: &[u8], flag: Flag) -> rustix::io::Result<(OwnedFd, bool)> {
    let mut path = path.to_vec();
    for _ in 0..MAX_LINKS {
        match root.find(&path, flag != Flag::Create) {
            Ok(_) if flag == Flag::Create => return Err(Errno::EXIST),
            Ok(found) => {
                match kind(&fs::fstat(&found)?) {
                    FileType::RegularFile => (),
                    FileType::Directory => return Err(Errno::ISDIR),
                    _ => return Err(Errno::INVAL),
                }
                let how = match flag {
                    Flag::Append => OFlags::APPEND,
                    _ => OFlags::TRUNC,
                };
                return Ok((reopen(found.as_fd(), OFlags::WRONLY | how)?, false));
            }
            Err(Errno::NOENT) => (),
            Err(errno) => return Err(errno),
        }
        if path.ends_with(b"/") {
            return Err(Errno::ISDIR);
        }
        let (parent, name) = root.parent(&path)?;
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = create | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return Ok((file, true)),
            Err(Errno::EXIST) => (),
            Err(errno) => return Err(errno),
        }
        match fs::readlinkat(&parent, name, Vec::new()) {
            Ok(target) if target.as_bytes().starts_with(b"/") => path = target.into_bytes(),
            Ok(target) => path = [split(&path)?.0, b"/", target.as_bytes()].concat(),
            // Somebody made or removed it just now.
            Err(Errno::INVAL | Errno::NOENT) => (),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::LOOP)
}

#[derive(Deserialize)]
pub struct MakeDirectory {
    #[serde(flatten)]
    place: Place,
    path: Bytes,
    recursive: bool,
    #[serde(flatten)]
    attributes: Attributes,
}

/// The topmost directory that was made, if any.
pub fn mkdir(args: &MakeDirectory) -> Result<Value> {
    const STEP: &str = "make a directory";
    let root = Root::open(&args.place, Access::Write)?;
    let path = &args.path.0;
    let made = match args.recursive {
        false => {
            make(&root, path, args.attributes).step_at(STEP, lossy(path))?;
            Some(Bytes(path.clone()))
        }
        true => make_all(&root, path, args.attributes).step_at(STEP, lossy(path))?,
    };
    Ok(json!({ "made": made }))
}

fn make_all(root: &Root, path: &[u8], with: Attributes) -> rustix::io::Result<Option<Bytes>> {
    let mut first = None;
    let ends = (1..=path.len()).filter(|end| *end == path.len() || path[*end] == b'/');
    for end in ends {
        let part = &path[..end];
        if root.find(part, true).is_ok() {
            continue;
        }
        match make(root, part, with) {
            Ok(()) => first = first.or_else(|| Some(Bytes(part.to_vec()))),
            Err(Errno::EXIST) => (), // somebody was quicker
            Err(errno) => return Err(errno),
        }
    }
    let found = root.find(path, true)?;
    match kind(&fs::fstat(&found)?) {
        FileType::Directory => Ok(first),
        _ => Err(Errno::EXIST),
    }
}

fn make(root: &Root, path: &[u8], with: Attributes) -> rustix::io::Result<()> {
    let (parent, name) = match root.parent(path) {
        Err(Errno::BUSY | Errno::INVAL) => return Err(Errno::EXIST), // `/`, `.`, `..`
        parent => parent?,
    };
    fs::mkdirat(&parent, name, Mode::RWXU)?;
    let made = node::open_directory(parent.as_fd(), name)?;
    with.set(&made, true, 0o755)
}

/// `mkdir -p` for other operations.
pub fn make_directories(root: &Root, path: &[u8]) -> rustix::io::Result<()> {
    let with = Attributes {
        uid: None,
        gid: None,
        mode: None,
    };
    make_all(root, path, with).map(|_| ())
}

#[derive(Deserialize)]
pub struct RemoveFile {
    #[serde(flatten)]
    place: Place,
    path: Bytes,
    recursive: bool,
    /// Missing is fine.
    force: bool,
}

pub fn remove_in_root(args: &RemoveFile) -> Result<Value> {
    const STEP: &str = "remove a file";
    let root = Root::open(&args.place, Access::Write)?;
    let at = lossy(&args.path.0);
    let (parent, name) = match root.parent(&args.path.0) {
        Err(Errno::NOENT | Errno::NOTDIR) if args.force => return Ok(json!({})),
        parent => parent.step_at(STEP, at)?,
    };
    match Node::Entry(parent.as_fd(), name).stat() {
        Err(Errno::NOENT) if args.force => return Ok(json!({})),
        stat => stat.step_at(STEP, at)?,
    };
    if args.recursive {
        remove_at(parent.as_fd(), name, at)?;
        return Ok(json!({}));
    }
    match fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) if args.force => (),
        outcome => outcome.step_at(STEP, at)?,
    }
    Ok(json!({}))
}
