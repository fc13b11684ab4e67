//! `events`: what a container uses, as runc tells it.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arguments::{Arguments, Options};
use super::record::{Record, Status};
use super::{Runtime, invalid};
use crate::error::{Failure, Result};

const OPTIONS: Options<'_> = Options {
    flags: &["stats"],
    values: &["interval"],
    short: &[],
    words: usize::MAX,
};
const INTERVAL: Duration = Duration::from_secs(5);

pub fn events(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let (place, record) = runtime.store.load(arguments.id()?)?;
    let interval = match arguments.value("interval") {
        Some(text) => duration(text)?,
        None => INTERVAL,
    };
    if place.status(&record) == Status::Stopped {
        return Err(Failure::kind("read the statistics", "state").detail("container not running"));
    }
    loop {
        let line = json!({ "type": "stats", "id": record.id, "data": data(&record) });
        if writeln!(std::io::stdout(), "{line}").is_err() || arguments.has("stats") {
            return Ok(0);
        }
        std::thread::sleep(interval);
        if !record.is_alive() {
            return Ok(0);
        }
    }
}

/// As Go writes them: `1m30s`, `100ms`. A number alone is in seconds.
fn duration(text: &str) -> Result<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let invalid = || invalid(format!("--interval: a time, such as 5s: {text}"));
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let (number, behind) = rest.split_at(digits.unwrap_or(rest.len()));
        let letters = behind.find(|letter: char| letter.is_ascii_digit());
        let (unit, behind) = behind.split_at(letters.unwrap_or(behind.len()));
        let unit = if unit.is_empty() { "s" } else { unit };
        let (_, seconds) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(invalid)?;
        total += number.parse::<f64>().map_err(|_| invalid())? * seconds;
        rest = behind;
    }
    match Duration::try_from_secs_f64(total) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(invalid()),
    }
}

fn data(record: &Record) -> Value {
    let v1 = |name: &str| {
        let mut hierarchies = record.cgroups.v1.iter();
        let found = hierarchies.find(|(names, _)| names.split(',').any(|each| each == name));
        found.map(|(_, directory)| directory.as_path())
    };
    let v2 = record.cgroups.v2.as_deref();
    json!({
        "cpu": cpu(v1("cpuacct"), v1("cpu"), v2),
        "memory": memory(v1("memory"), v2),
        "pids": pids(v1("pids").or(v2)),
    })
}

fn cpu(cpuacct: Option<&Path>, cpu: Option<&Path>, v2: Option<&Path>) -> Value {
    let stat = flat(cpu.or(v2), "cpu.stat");
    let nanoseconds = |key: &str| stat.get(key).copied().unwrap_or(0) * 1000;
    let usage = match cpuacct {
        Some(directory) => {
            let percpu = words(directory, "cpuacct.usage_percpu");
            json!({ "total": number(directory, "cpuacct.usage"), "percpu": percpu })
        }
        None => json!({
            "total": nanoseconds("usage_usec"),
            "kernel": nanoseconds("system_usec"),
            "user": nanoseconds("user_usec"),
        }),
    };
    json!({
        "usage": usage,
        "throttling": {
            "periods": stat.get("nr_periods"),
            "throttledPeriods": stat.get("nr_throttled"),
            "throttledTime": stat.get("throttled_time").copied()
                .or_else(|| stat.get("throttled_usec").map(|usec| usec * 1000)),
        },
    })
}

fn memory(v1: Option<&Path>, v2: Option<&Path>) -> Value {
    let Some(directory) = v1.or(v2) else {
        return json!({});
    };
    let stat = flat(Some(directory), "memory.stat");
    let names = match v1 {
        Some(_) => [
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
        ],
        None => ["memory.max", "memory.current", "memory.peak"],
    };
    let [limit, usage, max] = names.map(|name| number(directory, name));
    let cache = stat.get("cache").or_else(|| stat.get("file"));
    json!({
        "cache": cache,
        "usage": { "limit": limit, "usage": usage, "max": max },
        "raw": stat.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>(),
    })
}

fn pids(directory: Option<&Path>) -> Value {
    let Some(directory) = directory else {
        return json!({});
    };
    json!({ "current": number(directory, "pids.current"), "limit": number(directory, "pids.max") })
}

/// A file of one number; `null` where there is none, or no limit.
fn number(directory: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(directory.join(file))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn words(directory: &Path, file: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A file of a key and a number a line.
fn flat(directory: Option<&Path>, file: &str) -> std::collections::BTreeMap<String, u64> {
    let text = directory.and_then(|directory| std::fs::read_to_string(directory.join(file)).ok());
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.parse().ok()?))
        })
        .collect()
}
