//! `start`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use serde::Deserialize;

use super::arguments::{Arguments, Options};
use super::record::{Record, Status};
use super::store::Place;
use super::{Runtime, delete};
use crate::error::{Failure, Result, Step};
use crate::protocol::{FrameReader, Report, decode};
use crate::run::{HOOK_FAILED, START, connect_to_agent, hand_over_with, run_hooks};
use crate::seccomp::Seccomp;

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
    match start_container(runtime, place, record) {
        Ok(_) => Ok(0),
        Err(failed) => Err(failed.0),
    }
}

/// With the failure comes the container, unless it is gone: a hook that fails is its end.
type NotStarted = Box<(Failure, Option<(Place, Record)>)>;

/// Gives the word, and waits until the program has been executed.
pub fn start_container(
    runtime: &Runtime,
    place: Place,
    record: Record,
) -> std::result::Result<(Place, Record), NotStarted> {
    let state = record.state(Status::Running).to_string();
    let started =
        execute(&place).and_then(|()| run_hooks("poststart", &record.hooks.poststart, &state));
    match started {
        Ok(()) => Ok((place, record)),
        Err(failure) if failure.kind == Some(HOOK_FAILED) => {
            let destroyed = delete::destroy(runtime, place, record);
            Err(Box::new((destroyed.err().unwrap_or(failure), None)))
        }
        Err(failure) => Err(Box::new((failure, Some((place, record))))),
    }
}

fn execute(place: &Place) -> Result<()> {
    let mut connection = place.connect().step("start the container")?;
    match connect_to_agent_of(place)? {
        Some(agent) => hand_over_with(&connection, &[START], agent.as_fd()).map_err(Into::into),
        None => connection.write_all(&[START]),
    }
    .step("start the container")?;
    let mut said = Vec::new();
    // Ends without a word when the program was executed, which closes the other side.
    connection
        .read_to_end(&mut said)
        .step("start the container")?;
    let mut reader = FrameReader::default();
    reader.push(&said);
    match reader.next()?.map(decode).transpose()? {
        Some(Report::Error(failure)) => Err(Failure::reported(&failure)),
        _ => Ok(()),
    }
}

/// Who answers the notifications of its filter, where there is one.
fn connect_to_agent_of(place: &Place) -> Result<Option<OwnedFd>> {
    let config: Config = serde_json::from_str(&place.config()?).map_err(|error| {
        Failure::new("read the container's configuration").detail(error.to_string())
    })?;
    match config
        .linux
        .seccomp
        .map(|seccomp| seccomp.listener())
        .transpose()?
        .flatten()
    {
        Some(listener) => connect_to_agent(&listener).map(Some),
        None => Ok(None),
    }
}

/// What of it is read here.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    linux: Linux,
}

#[derive(Default, Deserialize)]
struct Linux {
    seccomp: Option<Seccomp>,
}
