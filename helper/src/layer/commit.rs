//! `layer.create`: what a container changed, as a layer's blob.

use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{self, FileType, OFlags};
use serde::{Deserialize, Serialize};

use super::changes::{Compare, What, compare, open_changed, whiteout_of};
use super::pack::Packer;
use super::path::split;
use super::sink::{BlobFile, Packed, Packing};
use crate::error::{Result, Step};
use crate::fs::root::{kind, lossy, reopen};

#[derive(Deserialize)]
pub struct Commit {
    #[serde(flatten)]
    compare: Compare,
    /// Where to; must not exist.
    file: PathBuf,
    compression: Packing,
}

#[derive(Serialize, Debug)]
pub struct Committed {
    entries: u64,
    #[serde(flatten)]
    packed: Packed,
}

pub fn commit(args: &Commit) -> Result<Committed> {
    const STEP: &str = "archive a file";
    // First: the comparison mounts over a directory of the host, if only for itself.
    let blob = BlobFile::create(&args.file, args.compression)?;
    let (changes, tree) = compare(&args.compare)?;
    let mut packer = Packer::new(blob);
    for change in &changes {
        let path = &change.path.0;
        let name = split(path).map_or(&path[..], |(_, name)| name);
        if change.kind == What::Deleted {
            packer.mark(whiteout_of(path))?;
            continue;
        }
        // A layer cannot hold such a file: its readers would take it for a whiteout.
        if name.starts_with(b".wh.") {
            continue;
        }
        let at = lossy(path);
        let Some(file) = open_changed(tree.as_fd(), path).step_at(STEP, at)? else {
            continue; // removed meanwhile
        };
        let stat = fs::fstat(&file).step_at(STEP, at)?;
        if kind(&stat) == FileType::Directory {
            let directory = reopen(file.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY);
            let directory = directory.step_at(STEP, at)?;
            packer.directory(directory.as_fd(), &stat, &[path, &b"/"[..]].concat())?;
        } else {
            packer.file(file.as_fd(), &stat, path)?;
        }
    }
    let entries = packer.entries;
    let packed = packer.finish()?.finish().step("write the layer")?;
    Ok(Committed { entries, packed })
}
