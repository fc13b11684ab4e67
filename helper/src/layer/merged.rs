//! Looking a path up through a stack of overlay layers, as the mounted overlay would show it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::path::reversed;
use super::tar::invalid;
use super::target::is_whiteout;
use crate::error::{Result, Step};
use crate::fs::node::Node;

const STEP: &str = "look into a lower layer";

/// Layers, topmost first.
#[derive(Clone)]
pub struct Merged {
    roots: Vec<Rc<OwnedFd>>,
}

pub struct Found {
    /// Without symbolic links, relative to the root.
    pub path: Vec<u8>,
    pub what: What,
}

pub enum What {
    Directory {
        topmost: Rc<OwnedFd>,
    },
    File {
        directory: Rc<OwnedFd>,
        stat: Stat,
        /// Which of the layers has it.
        layer: usize,
    },
}

/// The layers that contribute to a directory, with their numbers.
type Directories = Vec<(usize, Rc<OwnedFd>)>;

enum Child {
    Directory(Directories),
    File(usize, Rc<OwnedFd>, Stat),
}

const MAX_LINKS: usize = 40;

impl Merged {
    pub fn open<'a>(layers: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path| {
            let root = fs::open(path, flags, Mode::empty()).step_at("open a layer", path)?;
            Ok(Rc::new(root))
        };
        let roots = layers.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Merged { roots })
    }

    /// Symbolic links on the way are followed inside of the root; one at the end only with `follow`.
    pub fn find(&self, path: &[u8], follow: bool) -> Result<Option<Found>> {
        let mut todo = reversed(path);
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut directories = self.root();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                // What has been walked holds no links, so that its parent is what its name says.
                real.pop();
                directories = self.root();
                for name in &real {
                    match child(&directories, name)? {
                        Some(Child::Directory(next)) => directories = next,
                        _ => return Ok(None),
                    }
                }
                continue;
            }
            match child(&directories, &name)? {
                None => return Ok(None),
                Some(Child::Directory(next)) => {
                    directories = next;
                    real.push(name);
                }
                Some(Child::File(layer, directory, stat)) => {
                    let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
                    if link && (follow || !todo.is_empty()) {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(invalid("a path goes through too many symbolic links"));
                        }
                        let target =
                            fs::readlinkat(&directory, &name[..], Vec::new()).step(STEP)?;
                        if target.as_bytes().starts_with(b"/") {
                            real.clear();
                            directories = self.root();
                        }
                        todo.extend(reversed(target.as_bytes()));
                        continue;
                    }
                    if !todo.is_empty() {
                        return Ok(None);
                    }
                    real.push(name);
                    let what = What::File {
                        directory,
                        stat,
                        layer,
                    };
                    return Ok(Some(Found {
                        path: real.join(&b'/'),
                        what,
                    }));
                }
            }
        }
        Ok(directories.into_iter().next().map(|(_, topmost)| Found {
            path: real.join(&b'/'),
            what: What::Directory { topmost },
        }))
    }

    pub fn roots(&self) -> &[Rc<OwnedFd>] {
        &self.roots
    }

    fn root(&self) -> Directories {
        self.roots.iter().cloned().enumerate().collect()
    }
}

/// One step down: the topmost layer that says something of the name decides, and directories are seen through.
fn child(directories: &Directories, name: &[u8]) -> Result<Option<Child>> {
    let mut found: Directories = Vec::new();
    for (layer, directory) in directories {
        let node = Node::Entry(directory.as_fd(), name);
        let stat = match node.stat() {
            Err(Errno::NOENT) => continue,
            stat => stat.step(STEP)?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if found.is_empty() && !is_whiteout(&stat) {
                return Ok(Some(Child::File(*layer, directory.clone(), stat)));
            }
            break;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = fs::openat(directory, name, flags, Mode::empty()).step(STEP)?;
        found.push((*layer, Rc::new(opened)));
        if is_opaque(node) {
            break;
        }
    }
    Ok((!found.is_empty()).then_some(Child::Directory(found)))
}

pub fn is_opaque(node: Node<'_>) -> bool {
    let marked = |name: &[u8]| node.xattr(name).is_ok_and(|value| value == b"y");
    marked(b"trusted.overlay.opaque") || marked(b"user.overlay.opaque")
}
