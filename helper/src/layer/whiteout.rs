//! What a layer says of the layers below it: files that are gone, directories that start afresh.
//!
//! A whiteout applies to lower layers only, never to what its own layer contains, in whatever order they come.

use std::os::fd::AsFd;

use rustix::fs::{self, FileType, Mode};
use rustix::io::Errno;

use super::path::{OPAQUE, join, split};
use super::target::{Directory, Format, Target};
use crate::error::{Result, Step};
use crate::fs::node::{self, Node};

const STEP: &str = "carry out a whiteout";

impl Target {
    pub fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        if self.format == Format::Plain {
            let Ok(parent) = self.find(parent) else {
                return Ok(()); // nothing there that could be hidden
            };
            let path = join(&parent.path, name);
            // Symbolic links on the way are resolved; the directory's own times must survive.
            self.directory(&parent.path)?;
            return match self.record.hidden.insert(path.clone()) {
                true => self.hide(path),
                false => Ok(()),
            };
        }
        let parent = self.directory(parent)?;
        if self.record.links.0.contains_key(&join(&parent.path, name)) {
            return Ok(()); // a link of this layer that is still to be made
        }
        match fs::mknodat(
            &parent.fd,
            name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        ) {
            Err(Errno::EXIST) => {
                // This layer's file wins. Its directory is kept, but none of the lower directory's files.
                let stat = parent.node(name).stat().step(STEP)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => self.set_opaque(&parent, name),
                    _ => Ok(()),
                }
            }
            outcome => outcome.step(STEP),
        }
    }

    pub fn opaque(&mut self, parent: &[u8]) -> Result<()> {
        if self.format != Format::Plain {
            let directory = self.directory(parent)?;
            if directory.path.is_empty() {
                // Overlayfs ignores the mark on a root. `layer.inherit` does it another way.
                self.record.implied.0.insert(OPAQUE.to_vec(), ());
                return Ok(());
            }
            return self.set_opaque(&directory, b".");
        }
        match self.find(parent) {
            Ok(directory) => {
                self.directory(&directory.path)?;
                match self.record.hidden.insert(join(&directory.path, OPAQUE)) {
                    true => self.hide_children(directory),
                    false => Ok(()),
                }
            }
            Err(_) => Ok(()),
        }
    }

    pub fn set_opaque(&mut self, parent: &Directory, name: &[u8]) -> Result<()> {
        let Some(xattr) = self.format.opaque_xattr() else {
            return Ok(());
        };
        let directory = node::open_directory(parent.fd.as_fd(), name).step(STEP)?;
        let node = Node::Open(directory.as_fd());
        node.set_xattr(xattr, b"y")
            .step("mark a directory as opaque")
    }

    /// Removes what the parents have at `path`, and leaves what this layer made.
    fn hide(&mut self, path: Vec<u8>) -> Result<()> {
        let mut todo = vec![path];
        while let Some(path) = todo.pop() {
            let Some((parent, name)) = split(&path) else {
                continue;
            };
            let parent = self.directory(parent)?;
            if !self.record.is_ours(&path) {
                self.clear(&parent, name)?;
                continue;
            }
            let stat = match parent.node(name).stat() {
                Err(Errno::NOENT) => continue,
                stat => stat.step(STEP)?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let directory = self.find(&path).step(STEP)?;
                todo.extend(self.children(directory)?);
            }
        }
        Ok(())
    }

    fn hide_children(&mut self, directory: Directory) -> Result<()> {
        for path in self.children(directory)? {
            self.hide(path)?;
        }
        Ok(())
    }

    fn children(&self, directory: Directory) -> Result<Vec<Vec<u8>>> {
        let names = node::names(directory.fd.as_fd()).step(STEP)?;
        let paths = names
            .iter()
            .map(|name| join(&directory.path, name.as_bytes()));
        Ok(paths.collect())
    }
}
