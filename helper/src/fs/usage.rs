//! `tree.usage`: what a tree takes on its disk.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::descent::Descent;
use super::node::{self, Names, Node};
use crate::error::{Result, Step};

const STEP: &str = "measure a tree";

#[derive(Deserialize)]
pub struct Usage {
    path: PathBuf,
    /// Names in it that do not count.
    #[serde(default)]
    except: Vec<String>,
}

/// A file with several names counts once. Mounted file systems inside do not count.
#[derive(Serialize, Default, Debug, PartialEq, Eq)]
pub struct Used {
    bytes: u64,
    inodes: u64,
    #[serde(skip)]
    linked: HashSet<(u64, u64)>,
}

pub fn usage(args: &Usage) -> Result<Used> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = fs::open(&args.path, flags, Mode::empty()).step_at(STEP, &args.path)?;
    let mut used = Used::default();
    used.add(&fs::fstat(&root).step_at(STEP, &args.path)?);

    let mut way: Descent<Names> = Descent::new();
    let mut names = node::names(root.as_fd()).step_at(STEP, &args.path)?;
    names.retain(|name| {
        !args
            .except
            .iter()
            .any(|one| one.as_bytes() == name.as_bytes())
    });
    way.push(CString::default(), root, names).step(STEP)?;
    while let Some((dir, names)) = way.current() {
        let Some(name) = names.pop() else {
            way.pop().step_at(STEP, &args.path)?;
            continue;
        };
        let stat = match Node::Entry(dir, name.as_bytes()).stat() {
            Err(Errno::NOENT) => continue, // a container may be changing it meanwhile
            stat => stat.step_at(STEP, &args.path)?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            used.add(&stat);
            continue;
        }
        match node::open_directory(dir, name.as_bytes()) {
            Ok(fd) => {
                used.add(&stat);
                let names = node::names(fd.as_fd()).step_at(STEP, &args.path)?;
                way.push(name, fd, names).step(STEP)?;
            }
            Err(Errno::XDEV | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => (),
            Err(errno) => return Err(errno).step_at(STEP, &args.path),
        }
    }
    Ok(used)
}

impl Used {
    fn add(&mut self, stat: &Stat) {
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !directory && stat.st_nlink > 1 && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return;
        }
        self.bytes += stat.st_blocks as u64 * 512;
        self.inodes += 1;
    }
}
