//! Where a written archive goes: to Node over a pipe, or into a file as a layer's blob.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Result, Step};

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    None,
    Gzip,
}

/// As descriptors and configurations name a layer.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Packed {
    pub digest: String,
    pub size: u64,
    pub diff_id: String,
}

pub struct BlobFile {
    diff: Sha256,
    packer: Packer,
}

enum Packer {
    None(BufWriter<Hashing>),
    Gzip(Box<GzEncoder<BufWriter<Hashing>>>),
}

struct Hashing {
    file: File,
    hash: Sha256,
    size: u64,
}

impl BlobFile {
    /// `path` must not exist.
    pub fn create(path: &Path, packing: Packing) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .step_at("make the layer's file", path)?;
        let hashing = BufWriter::with_capacity(
            256 << 10,
            Hashing {
                file,
                hash: Sha256::new(),
                size: 0,
            },
        );
        let packer = match packing {
            Packing::None => Packer::None(hashing),
            // No time and no name in its header: the same files give the same bytes.
            Packing::Gzip => Packer::Gzip(Box::new(
                GzBuilder::new().write(hashing, flate2::Compression::default()),
            )),
        };
        Ok(BlobFile {
            diff: Sha256::new(),
            packer,
        })
    }

    pub fn finish(self) -> io::Result<Packed> {
        let inner = match self.packer {
            Packer::None(inner) => inner,
            Packer::Gzip(gzip) => gzip.finish()?,
        };
        let hashing = inner.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Packed {
            digest: format!("sha256:{:x}", hashing.hash.finalize()),
            size: hashing.size,
            diff_id: format!("sha256:{:x}", self.diff.finalize()),
        })
    }
}

impl Write for BlobFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = match &mut self.packer {
            Packer::None(inner) => inner.write(buffer)?,
            Packer::Gzip(inner) => inner.write(buffer)?,
        };
        self.diff.update(&buffer[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.file.write(buffer)?;
        self.hash.update(&buffer[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
