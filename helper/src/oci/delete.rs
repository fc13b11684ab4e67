//! `delete`, and the end of every container.

use std::ffi::OsString;

use super::Runtime;
use super::arguments::{Arguments, Options};
use super::kill::signal_init;
use super::record::{Record, Status};
use super::store::Place;
use crate::error::{Failure, Result};
use crate::run::remove_cgroups;

const OPTIONS: Options<'_> = Options {
    flags: &["force"],
    values: &[],
    short: &[('f', "force")],
    words: usize::MAX,
};

pub fn delete(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let force = arguments.has("force");
    let place = match runtime.store.find(arguments.id()?) {
        Err(failure) if force && failure.kind == Some("not-found") => return Ok(0),
        found => found?,
    };
    place.lock()?;
    let Some(record) = place.record()? else {
        // Its creator died before it had made anything.
        remove_directory(&place)?;
        return Ok(0);
    };
    match place.status(&record) {
        Status::Stopped => {}
        _ if force => {}
        status => {
            return Err(
                Failure::kind("delete the container", "state").detail(format!(
                    "cannot delete container {} that is not stopped: {}",
                    record.id,
                    status.word()
                )),
            );
        }
    }
    destroy(runtime, place, record)?;
    Ok(0)
}

/// One whose program has ended, unless somebody else has deleted it.
pub fn delete_stopped(runtime: &Runtime, id: &str) -> Result<()> {
    let place = match runtime.store.find(id) {
        Err(failure) if failure.kind == Some("not-found") => return Ok(()),
        found => found?,
    };
    place.lock()?;
    match place.record()? {
        Some(record) => destroy(runtime, place, record),
        // It went while this process waited for the lock.
        None => Ok(()),
    }
}

/// Ends what still runs in it, and removes what was made for it.
pub fn destroy(runtime: &Runtime, place: Place, record: Record) -> Result<()> {
    if place.status(&record) != Status::Stopped {
        let _ = signal_init(&record, libc::SIGKILL);
    }
    if let Some(failure) = remove_cgroups(&record.own_cgroups()).into_iter().next() {
        return Err(failure);
    }
    if let Some(failure) = record.forget_scope() {
        runtime.log.warn(&failure.to_string());
    }
    remove_directory(&place)?;
    run_poststop_hooks(runtime, &record);
    Ok(())
}

/// One that fails is a warning: the others run all the same.
pub fn run_poststop_hooks(runtime: &Runtime, record: &Record) {
    let state = record.state(Status::Stopped).to_string();
    for (number, hook) in (0..).zip(&record.hooks.poststop) {
        if let Err(failure) = hook.run(&format!("poststop hook #{number}"), &state) {
            runtime.log.warn(&failure.to_string());
        }
    }
}

fn remove_directory(place: &Place) -> Result<()> {
    crate::fs::remove::remove_path(&place.path)
}
