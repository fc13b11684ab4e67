//! A writable layer, made together with what is mounted on it.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use serde::{Deserialize, Serialize};

use super::config::RootfsMount;
use crate::error::{Result, Step};

const STEP: &str = "make a writable layer";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WritableLayer {
    /// To be made, with the layer's directories in it.
    pub directory: PathBuf,
    /// Of the layer's own root.
    mode: u32,
    /// Absent: this process's.
    owner: Option<Owner>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl WritableLayer {
    /// The directories that an overlay writes to.
    pub fn make(&self, rootfs: &RootfsMount) -> Result<()> {
        make_directory(&self.directory, 0o700)?;
        let RootfsMount::Overlay { upper, work, .. } = rootfs else {
            return Ok(());
        };
        if let Some(work) = work {
            make_directory(work, 0o700)?;
        }
        if let Some(upper) = upper {
            make_directory(upper, 0o755)?;
            if let Some(Owner { uid, gid }) = self.owner {
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                rustix::fs::chownat(CWD, upper, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                    .step_at(STEP, upper)?;
            }
            // After the change of owner, which takes set-id bits away.
            rustix::fs::chmod(upper, Mode::from_raw_mode(self.mode & 0o7777))
                .step_at(STEP, upper)?;
        }
        Ok(())
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).step_at(STEP, path)
}
