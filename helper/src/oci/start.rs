//! `start`.

use std::ffi::OsString;
use std::io::{Read, Write};

use super::Runtime;
use super::arguments::{Arguments, Options};
use super::record::{Record, Status};
use super::store::Place;
use crate::error::{Failure, Result, Step};
use crate::protocol::{FrameReader, Report, decode};
use crate::run::{START, run_hooks};

const OPTIONS: Options<'_> = Options {
    flags: &[],
    values: &[],
    short: &[],
    words: usize::MAX,
};

pub fn start(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let (place, record) = runtime.store.load(arguments.id()?)?;
    place.lock()?;
    match place.status(&record) {
        Status::Created => {}
        status => {
            return Err(
                Failure::kind("start the container", "state").detail(format!(
                    "cannot start a container that is {}",
                    status.word()
                )),
            );
        }
    }
    start_container(runtime, &place, &record)?;
    Ok(0)
}

/// Gives the word, and waits until the program has been executed.
pub fn start_container(runtime: &Runtime, place: &Place, record: &Record) -> Result<()> {
    let mut connection = place.connect().step("start the container")?;
    connection.write_all(&[START]).step("start the container")?;
    let mut said = Vec::new();
    // Ends without a word when the program was executed, which closes the other side.
    connection
        .read_to_end(&mut said)
        .step("start the container")?;
    let mut reader = FrameReader::default();
    reader.push(&said);
    if let Ok(Some(frame)) = reader.next() {
        if let Ok(Report::Error(failure)) = decode(frame) {
            return Err(Failure::reported(&failure));
        }
    }
    let state = record.state(Status::Running).to_string();
    if let Err(failure) = run_hooks("poststart", &record.hooks.poststart, &state) {
        runtime.log.warn(&failure.to_string());
    }
    Ok(())
}
