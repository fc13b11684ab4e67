//! `mkdirs`: directories with their parents.

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use serde::Deserialize;

use crate::error::{Result, Step};

#[derive(Deserialize)]
pub struct Mkdirs {
    paths: Vec<std::path::PathBuf>,
    mode: u32,
}

pub fn mkdirs(args: &Mkdirs) -> Result<()> {
    for path in &args.paths {
        make(path, Mode::from_raw_mode(args.mode)).step_at("make a directory", path)?;
    }
    Ok(())
}

fn make(path: &std::path::Path, mode: Mode) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(CWD, path, mode) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => match rustix::fs::stat(path) {
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => Ok(()),
            Ok(_) => Err(Errno::NOTDIR),
            Err(errno) => Err(errno),
        },
        Err(Errno::NOENT) => {
            make(path.parent().ok_or(Errno::NOENT)?, mode)?;
            match rustix::fs::mkdirat(CWD, path, mode) {
                Err(Errno::EXIST) | Ok(()) => Ok(()),
                Err(errno) => Err(errno),
            }
        }
        Err(errno) => Err(errno),
    }
}
