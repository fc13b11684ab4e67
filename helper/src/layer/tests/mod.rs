//! Layers applied to real directories, by root.

mod attacks;
mod attributes;
mod changes;
mod inherit;
mod limits;
mod rootless;
mod roots;
mod streams;
mod whiteouts;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::apply::{Applied, Apply, Limits, apply};
use super::attributes::Owners;
use super::decompress::Compression;
use super::tar::base64;
use super::target::Format;
use super::write::Devices;
use crate::error::{Failure, Result};

/// A directory with a `target` in it, and beside it what an attack would like to reach.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("target")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), "untouched").unwrap();
        Bench { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn target(&self) -> PathBuf {
        self.path().join("target")
    }

    pub fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.target().join(name.as_ref())
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.at(name).symlink_metadata().is_ok()
    }

    pub fn is_whiteout(&self, name: &str) -> bool {
        let meta = self.at(name).symlink_metadata().unwrap();
        meta.file_type().is_char_device() && meta.rdev() == 0
    }

    pub fn xattr(&self, name: impl AsRef<OsStr>, xattr: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(self.at(name), xattr, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    }

    pub fn apply(&self, archive: &[u8]) -> Result<Applied> {
        self.apply_as(Format::Overlay, archive)
    }

    pub fn apply_as(&self, format: Format, archive: &[u8]) -> Result<Applied> {
        self.run(&Apply {
            format,
            ..self.blob(archive)
        })
    }

    pub fn refused(&self, archive: &[u8], kind: &str) -> Failure {
        let failure = self.apply(archive).expect_err("the layer must be refused");
        assert_eq!(failure.kind, Some(kind), "{failure}");
        failure
    }

    /// Nothing outside of the target may ever change.
    pub fn run(&self, args: &Apply) -> Result<Applied> {
        let outcome = apply(args, &mut |_| ());
        let secret = self.path().join("outside/secret");
        assert_eq!(std::fs::read_to_string(secret).unwrap(), "untouched");
        assert_eq!(names(&self.path().join("outside")), ["secret"]);
        assert!(
            names(self.path())
                .iter()
                .all(|n| ["blob", "outside", "target"].contains(&&n[..]))
        );
        outcome
    }

    /// What is needed to apply an uncompressed blob.
    pub fn blob(&self, bytes: &[u8]) -> Apply {
        let source = self.path().join("blob");
        std::fs::write(&source, bytes).unwrap();
        Apply {
            source,
            size: bytes.len() as u64,
            follow: false,
            compression: Compression::None,
            target: self.target(),
            format: Format::Overlay,
            limits: Limits {
                bytes: 1 << 30,
                entries: 10_000,
                ratio: 100,
            },
            devices: Devices::Create,
            owners: Owners::Keep,
        }
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub fn plain(encoded: &[String]) -> Vec<String> {
    let decode =
        |text: &String| String::from_utf8(base64::decode(text.as_bytes()).unwrap()).unwrap();
    encoded.iter().map(decode).collect()
}

pub fn name_of(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
