//! `tree.sync`: what was written is on the disk.

use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Result, Step};

#[derive(Deserialize)]
pub struct Sync {
    path: PathBuf,
}

/// One call for a whole file system: far cheaper than one for each of the ten thousand files of a layer.
pub fn sync(args: &Sync) -> Result<Value> {
    const STEP: &str = "sync a file system";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&args.path, flags, Mode::empty()).step_at(STEP, &args.path)?;
    rustix::fs::syncfs(&directory).step_at(STEP, &args.path)?;
    Ok(json!({}))
}
