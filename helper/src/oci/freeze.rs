//! `pause` and `resume`.

use std::ffi::OsString;
use std::time::Duration;

use super::Runtime;
use super::arguments::{Arguments, Options};
use super::record::Status;
use crate::error::{Failure, Result};
use crate::run::{cgroup_is_frozen, freeze_cgroup};

const OPTIONS: Options<'_> = Options {
    flags: &[],
    values: &[],
    short: &[],
    words: usize::MAX,
};

/// v1 has nothing to wait on, and freezes only what it can whenever it is asked.
const PAUSE: Duration = Duration::from_millis(1);
const ATTEMPTS: u32 = 2000;

pub fn pause(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    change(runtime, words, true, &[Status::Running, Status::Created])
}

pub fn resume(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    change(runtime, words, false, &[Status::Paused])
}

fn change(runtime: &Runtime, words: Vec<OsString>, frozen: bool, from: &[Status]) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let (place, record) = runtime.store.load(arguments.id()?)?;
    place.lock()?;
    let status = place.status(&record);
    if !from.contains(&status) {
        let verb = if frozen { "pause" } else { "resume" };
        return Err(Failure::kind(format!("{verb} the container"), "state")
            .detail(format!("the container is {}", status.word())));
    }
    let directories = record.cgroups.directories();
    for _ in 0..ATTEMPTS {
        freeze_cgroup(&directories, frozen)?;
        if cgroup_is_frozen(&directories)? == frozen {
            return Ok(0);
        }
        std::thread::sleep(PAUSE);
    }
    freeze_cgroup(&directories, false)?;
    Err(Failure::new("pause the container").detail("some of its processes do not stop"))
}
