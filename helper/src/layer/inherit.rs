//! `layer.inherit`: completes a layer by what only the layers below it know.
//!
//! Layers are applied side by side, each into its own directory. What an archive takes for granted is filled in
//! here, once the parents are there: directories that it does not describe, and hard links to files that it does not
//! have. The result is what unpacking onto the merged parents would have given.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Mode, RenameFlags, Timespec};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

use super::merged::{Found, Merged, What, is_opaque};
use super::path::{OPAQUE, check_length, join, link_target, split};
use super::tar::{base64, invalid};
use super::target::{Directory, Format, Target, stated_times};
use crate::error::{Failure, Result, Step};
use crate::fs::copy_node;
use crate::fs::node::{self, Node};
use crate::fs::remove::remove_at;

#[derive(Deserialize, Debug)]
pub struct Inherit {
    pub target: PathBuf,
    /// Topmost first.
    pub parents: Vec<PathBuf>,
    pub inherited: Vec<String>,
    pub links: Vec<(String, String)>,
    /// How opaque directories are marked.
    #[serde(default = "overlay")]
    pub format: Format,
}

fn overlay() -> Format {
    Format::Overlay
}

pub fn inherit(args: &Inherit) -> Result<Value> {
    rustix::process::umask(Mode::empty());
    let parents = args.parents.iter().map(PathBuf::as_path);
    let mut work = Work {
        target: Target::open(&args.target, args.format)?,
        parents: Merged::open(parents.clone())?,
        merged: Merged::open([args.target.as_path()].into_iter().chain(parents))?,
    };
    let mut todo = BTreeSet::new();
    for path in &args.inherited {
        todo.insert(decode(path)?);
    }
    let opaque_root = todo.remove(OPAQUE);
    work.directories(todo)?;
    for (path, target) in &args.links {
        let path = decode(path)?;
        work.link(&path, &decode(target)?)
            .map_err(|failure| failure.path(String::from_utf8_lossy(&path).as_ref()))?;
    }
    work.directories(BTreeSet::new())?; // those that copied files needed
    if opaque_root {
        work.hide_parents()?;
    }
    work.target.finish_times()?;
    Ok(json!({}))
}

struct Work {
    target: Target,
    parents: Merged,
    /// The layer itself on top of its parents.
    merged: Merged,
}

impl Work {
    /// Gives implied directories what the parents say of them, from the top down.
    fn directories(&mut self, mut todo: BTreeSet<Vec<u8>>) -> Result<()> {
        loop {
            todo.extend(std::mem::take(&mut self.target.record.implied.0).into_keys());
            let Some(path) = todo.pop_first() else {
                return Ok(());
            };
            let found = self.parents.find(&path, false)?;
            match found.map(|found| found.what) {
                Some(What::Directory { topmost }) => {
                    let from = fs::openat(&topmost, ".", reading(), Mode::empty());
                    let from = from.step("open a lower layer's directory")?;
                    let directory = self.target.find(&path).step("open a directory")?;
                    let to = node::open_directory(directory.fd.as_fd(), b".");
                    let to = to.step("open a directory")?;
                    let times = describe(Node::Open(from.as_fd()), Node::Open(to.as_fd()))?;
                    self.target.record.times.0.insert(path, times);
                }
                Some(What::File { stat, .. })
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink =>
                {
                    todo = self.relocate(path, todo)?;
                }
                _ => (),
            }
        }
    }

    /// The parents have a symbolic link where the layer only passes through: its files belong where the link leads
    /// (`/lib` to `/usr/lib`), and a directory here would hide the link and all behind it.
    fn relocate(&mut self, path: Vec<u8>, todo: BTreeSet<Vec<u8>>) -> Result<BTreeSet<Vec<u8>>> {
        let Some(Found {
            path: real,
            what: What::Directory { .. },
        }) = self.parents.find(&path, true)?
        else {
            return Ok(todo);
        };
        let below = [&path[..], b"/"].concat();
        let (above, name) = split(&path).unwrap_or((b"", b"."));
        let above = self.target.find(above).step("open a directory")?;
        self.target.keep_times(&above)?;
        let place = self.target.directory(&real)?;
        if place.path == path || place.path.starts_with(&below) {
            return Ok(todo); // by a link of the layer itself, it is there already
        }
        self.move_children(&path, &real)?;
        self.target.clear(&above, name)?;
        let moved = |path: Vec<u8>| match path.strip_prefix(&below[..]) {
            Some(rest) => join(&real, rest),
            None => path,
        };
        Ok(todo.into_iter().map(moved).collect())
    }

    fn move_children(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        const STEP: &str = "move a directory's content";
        let mut todo = vec![(from.to_vec(), to.to_vec())];
        while let Some((from, to)) = todo.pop() {
            let from = self.target.find(&from).step(STEP)?;
            let to = self.target.directory(&to)?;
            self.target.keep_times(&to)?;
            if is_opaque(Node::Entry(from.fd.as_fd(), b".")) {
                self.target.set_opaque(&to, b".")?;
            }
            for name in node::names(from.fd.as_fd()).step(STEP)? {
                let name = name.as_bytes();
                check_length(&to.path, name)?;
                match fs::renameat_with(&from.fd, name, &to.fd, name, RenameFlags::NOREPLACE) {
                    Err(Errno::EXIST) => {
                        let is_directory = |at: &Directory| {
                            let stat = at.node(name).stat().step(STEP)?;
                            Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
                        };
                        // Of two files with one name, the one that the layer put here by its real name stays.
                        if is_directory(&from)? && is_directory(&to)? {
                            todo.push((join(&from.path, name), join(&to.path, name)));
                        }
                    }
                    outcome => outcome.step(STEP)?,
                }
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        const STEP: &str = "make a hard link";
        let missing = || invalid("a hard link names a missing file");
        let (above, name) = split(path).ok_or_else(missing)?;
        let above = match self.merged.find(above, true)? {
            Some(Found {
                path,
                what: What::Directory { .. },
            }) => self.target.directory(&path)?,
            _ => return Err(missing()),
        };
        match above.node(name).stat() {
            Err(Errno::NOENT) => (),
            Ok(stat) if self.target.is_whiteout(&stat) => (),
            Ok(_) => return Ok(()), // made later in the layer than the link
            Err(errno) => return Err(errno).step(STEP),
        }

        let (target_parent, target_name) = link_target(target)?;
        let found = self
            .merged
            .find(&join(&target_parent, target_name), false)?;
        let Some(Found {
            path: real,
            what:
                What::File {
                    directory,
                    stat,
                    layer,
                },
        }) = found
        else {
            return Err(missing());
        };
        let (real_parent, real_name) = split(&real).ok_or_else(missing)?;
        let place = self.target.directory(real_parent)?;
        if layer > 0 {
            self.target.keep_times(&place)?;
            let lower = Node::Entry(directory.as_fd(), real_name);
            copy_node(lower, &stat, place.fd.as_fd(), real_name)?;
        }
        self.target.keep_times(&above)?;
        remove_at(above.fd.as_fd(), name, path_of(path))?; // a whiteout
        fs::linkat(&place.fd, real_name, &above.fd, name, AtFlags::empty()).step(STEP)
    }

    /// Overlayfs does not look at a mark on a layer's root, so each name that would show through is hidden by itself.
    fn hide_parents(&mut self) -> Result<()> {
        const STEP: &str = "hide the lower layers";
        let root = self.target.find(b"").step(STEP)?;
        self.target.keep_times(&root)?;
        for parent in self.parents.roots() {
            for name in node::names(parent.as_fd()).step(STEP)? {
                let name = name.as_bytes();
                match fs::mknodat(&root.fd, name, FileType::CharacterDevice, Mode::empty(), 0) {
                    Err(Errno::EXIST) => {
                        let stat = root.node(name).stat().step(STEP)?;
                        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                            self.target.set_opaque(&root, name)?;
                        }
                    }
                    made => made.step(STEP)?,
                }
            }
        }
        Ok(())
    }
}

/// Owner, mode and extended attributes, except overlay's own. Returns the times.
fn describe(from: Node<'_>, to: Node<'_>) -> Result<(Timespec, Timespec)> {
    const STEP: &str = "copy a directory's attributes";
    let stat = from.stat().step(STEP)?;
    to.set_owner(Some(stat.st_uid), Some(stat.st_gid))
        .step(STEP)?;
    to.set_mode(stat.st_mode).step(STEP)?;
    for name in from.xattr_names().step(STEP)? {
        if super::attributes::is_allowed(&name) {
            to.set_xattr(&name, &from.xattr(&name).step(STEP)?)
                .step(STEP)?;
        }
    }
    Ok(stated_times(&stat))
}

fn reading() -> fs::OFlags {
    fs::OFlags::RDONLY | fs::OFlags::DIRECTORY | fs::OFlags::CLOEXEC
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let path = base64::decode(text.as_bytes())
        .ok_or_else(|| Failure::kind("decode the request", "protocol").detail("not base64"))?;
    Ok(if path == b"." { Vec::new() } else { path })
}

fn path_of(path: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(path))
}
