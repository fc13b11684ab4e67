//! `state` and `list`.

use std::ffi::OsString;

use serde::Serialize;

use super::arguments::{Arguments, Options};
use super::record::FullState;
use super::{Runtime, invalid};
use crate::error::{Failure, Result};

const STATE: Options<'_> = Options {
    flags: &[],
    values: &[],
    short: &[],
    words: usize::MAX,
};

const LIST: Options<'_> = Options {
    flags: &["quiet"],
    values: &["format"],
    short: &[('q', "quiet"), ('f', "format")],
    words: usize::MAX,
};

pub fn state(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &STATE)?;
    let (place, record) = runtime.store.load(arguments.id()?)?;
    println!("{}", pretty(&record.full_state(place.status(&record)))?);
    Ok(0)
}

pub fn list(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &LIST)?;
    // One may be removed while we look.
    let ids = runtime.store.ids()?;
    let found: Vec<_> = ids
        .iter()
        .filter_map(|id| runtime.store.load(id).ok())
        .collect();
    let states: Vec<_> = found
        .iter()
        .map(|(place, record)| record.full_state(place.status(record)))
        .collect();
    if arguments.has("quiet") {
        states.iter().for_each(|state| println!("{}", state.id));
        return Ok(0);
    }
    match arguments.value("format") {
        Some("json") => println!("{}", json(&states)?),
        None | Some("table") => print!("{}", table(&states)),
        Some(other) => return Err(invalid(format!("--format: {other}"))),
    }
    Ok(0)
}

const COLUMNS: usize = 6;

fn table(states: &[FullState<'_>]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = states.iter().map(|state| {
        [
            state.id.to_owned(),
            state.pid.to_string(),
            state.status.to_owned(),
            state.bundle.display().to_string(),
            state.created.to_owned(),
            state.owner.to_owned(),
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}   "))
                .collect();
            format!("{}\n", line.trim_end())
        })
        .collect()
}

pub fn pretty(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new("write JSON").detail(error.to_string()))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new("write JSON").detail(error.to_string()))
}
