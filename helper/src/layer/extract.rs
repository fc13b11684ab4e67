//! `archive.extract`: an archive that Node sends becomes files of a root file system. Unlike in a layer, no name has a meaning
//! of its own.

use std::io::{BufRead, BufReader, Read};

use rustix::fs::{self, FileType, Mode};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

use super::attributes::{Owners, Skipped};
use super::decompress::{Compression, decompress};
use super::path::join;
use super::tar::{Entry, Kind, Reader, Stream, invalid};
use super::target::Target;
use super::write::{Devices, Writer};
use crate::error::{Failure, Result, Step};
use crate::fs::bytes::Bytes;
use crate::fs::make_directories;
use crate::fs::root::{Access, Place, Root, kind, lossy};
use crate::fs::stream::Inlet;

#[derive(Deserialize)]
pub struct Extract {
    #[serde(flatten)]
    place: Place,
    /// The directory that names are relative to.
    path: Bytes,
    /// Make it when it is missing.
    #[serde(default)]
    create: bool,
    #[serde(flatten)]
    change: Change,
    devices: Devices,
    #[serde(default)]
    owners: Owners,
}

/// What is otherwise than the archive says.
#[derive(Deserialize)]
struct Change {
    uid: Option<u32>,
    gid: Option<u32>,
    /// Permission bits of files; directories can be entered besides, by whoever may read.
    mode: Option<u32>,
    /// Without set-id bits and extended attributes: for files of strangers that come to lie on the host.
    #[serde(default)]
    tame: bool,
}

pub fn extract(args: &Extract, progress: &mut dyn FnMut(Value)) -> Result<Value> {
    const STEP: &str = "find the directory to extract into";
    // Modes are set as they are stated.
    rustix::process::umask(Mode::empty());
    let at = lossy(&args.path.0);
    let root = Root::open(&args.place, Access::Write)?;
    if args.create {
        make_directories(&root, &args.path.0).step_at(STEP, at)?;
    }
    let found = root.find(&args.path.0, true).step_at(STEP, at)?;
    if kind(&fs::fstat(&found).step_at(STEP, at)?) != FileType::Directory {
        return Err(Errno::NOTDIR).step_at(STEP, at);
    }
    let mut writer = Writer {
        target: Target::within(root.into_fd())?,
        devices: args.devices,
        owners: args.owners,
        skipped: Skipped::default(),
    };
    let stream = Piped::new(Inlet::offer(progress)?)?;
    let mut reader = Reader::new(stream);
    let (mut entries, mut bytes) = (0u64, 0u64);
    while let Some(mut entry) = reader.next()? {
        entries += 1;
        bytes += entry.size;
        let shown = entry.path.clone();
        args.change.apply(&mut entry);
        relocate(&mut entry, &args.path.0);
        let written = writer.extract(&entry, &mut reader);
        written.map_err(|failure| match failure.path {
            Some(_) => failure,
            None => failure.path(lossy(&shown)),
        })?;
    }
    reader.drain()?;
    writer.target.finish_times()?;
    Ok(json!({ "entries": entries, "bytes": bytes, "skipped": writer.skipped }))
}

impl Change {
    fn apply(&self, entry: &mut Entry) {
        entry.uid = self.uid.unwrap_or(entry.uid);
        entry.gid = self.gid.unwrap_or(entry.gid);
        if let Some(mode) = self.mode {
            entry.mode = match entry.kind {
                Kind::Directory => mode | (mode & 0o444) >> 2,
                _ => mode,
            };
        }
        if self.tame {
            entry.mode &= 0o1777;
            entry.xattrs.clear();
        }
    }
}

/// Names, and what hard links name, are relative to the directory; links are resolved in the whole root.
fn relocate(entry: &mut Entry, directory: &[u8]) {
    entry.path = join(directory, &entry.path);
    if let Kind::Hardlink(target) = &mut entry.kind {
        *target = join(directory, target);
    }
}

/// The uncompressed archive, whatever it was packed with.
struct Piped {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Piped {
    fn new(inlet: Inlet) -> Result<Self> {
        let mut input = BufReader::with_capacity(256 << 10, inlet);
        let compression = match input.fill_buf().step("read the archive")? {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::None,
        };
        Ok(Piped {
            input: decompress(input, compression).step("read the archive")?,
            buffer: vec![0; 256 << 10],
            start: 0,
            end: 0,
        })
    }
}

impl Stream for Piped {
    fn fill(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end =
                self.input
                    .read(&mut self.buffer)
                    .map_err(|error| match error.raw_os_error() {
                        Some(raw) => {
                            Failure::new("read the archive").errno(Errno::from_raw_os_error(raw))
                        }
                        None => invalid(error.to_string()),
                    })?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}
