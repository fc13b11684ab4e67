//! `ps`.

use std::ffi::OsString;
use std::process::Command;

use serde_json::json;

use super::arguments::{Arguments, Options};
use super::{Runtime, invalid};
use crate::error::{Failure, Result, Step};
use crate::run::cgroup_processes;

const OPTIONS: Options<'_> = Options {
    flags: &[],
    values: &["format"],
    short: &[('f', "format")],
    words: 1,
};

pub fn ps(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let (_, record) = runtime.store.load(arguments.id()?)?;
    let pids = cgroup_processes(&record.cgroups.directories());
    match arguments.value("format") {
        Some("json") => println!("{}", json!(pids)),
        None | Some("table") => print!("{}", table(&pids, arguments.texts()?)?),
        Some(other) => return Err(invalid(format!("--format: {other}"))),
    }
    Ok(0)
}

/// What ps(1) says of these, with the options given.
fn table(pids: &[i32], mut options: Vec<String>) -> Result<String> {
    if options.is_empty() {
        options.push("-ef".into());
    }
    let output = Command::new("ps").args(options).output().step("run ps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Failure::new("run ps").detail("its output has no column PID"))?;
    let is_ours = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let ours = std::iter::once(head).chain(lines.filter(is_ours));
    Ok(ours.map(|line| format!("{line}\n")).collect())
}
