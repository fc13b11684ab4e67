//! `state` and `list`.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::arguments::{Arguments, Options};
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
    let states: Vec<Value> = runtime
        .store
        .ids()
        .iter()
        // One may be removed while we look.
        .filter_map(|id| runtime.store.load(id).ok())
        .map(|(place, record)| record.full_state(place.status(&record)))
        .collect();
    if arguments.has("quiet") {
        for state in &states {
            println!("{}", text(&state["id"]));
        }
        return Ok(0);
    }
    match arguments.value("format") {
        Some("json") => println!("{}", json!(states)),
        None | Some("table") => print!("{}", table(&states)),
        Some(other) => return Err(invalid(format!("--format: {other}"))),
    }
    Ok(0)
}

fn table(states: &[Value]) -> String {
    const COLUMNS: [(&str, &str); 6] = [
        ("ID", "id"),
        ("PID", "pid"),
        ("STATUS", "status"),
        ("BUNDLE", "bundle"),
        ("CREATED", "created"),
        ("OWNER", "owner"),
    ];
    let head = COLUMNS.map(|(name, _)| name.to_owned());
    let rows = states
        .iter()
        .map(|state| COLUMNS.map(|(_, key)| text(&state[key])));
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
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

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

pub fn pretty(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new("write JSON").detail(error.to_string()))
}
