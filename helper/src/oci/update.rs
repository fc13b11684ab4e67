//! `update`.

use std::ffi::OsString;
use std::io::Read;

use serde_json::{Value, json};

use super::arguments::{Arguments, Options};
use super::{Runtime, bundle, invalid};
use crate::error::{Failure, Result, Step};
use crate::run::{Resources, cgroup_properties, update_cgroups};

/// The options that are one number, and where it belongs in `linux.resources`.
const NUMBERS: [(&str, &str); 10] = [
    ("blkio-weight", "/blockIO/weight"),
    ("cpu-period", "/cpu/period"),
    ("cpu-quota", "/cpu/quota"),
    ("cpu-burst", "/cpu/burst"),
    ("cpu-share", "/cpu/shares"),
    ("cpu-idle", "/cpu/idle"),
    ("memory", "/memory/limit"),
    ("memory-reservation", "/memory/reservation"),
    ("memory-swap", "/memory/swap"),
    ("pids-limit", "/pids/limit"),
];

const OPTIONS: Options<'_> = Options {
    flags: &[],
    values: &[
        "resources",
        "blkio-weight",
        "cpu-period",
        "cpu-quota",
        "cpu-burst",
        "cpu-share",
        "cpu-idle",
        "memory",
        "memory-reservation",
        "memory-swap",
        "pids-limit",
        "cpuset-cpus",
        "cpuset-mems",
    ],
    short: &[('r', "resources")],
    words: usize::MAX,
};

pub fn update(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let (place, record) = runtime.store.load(arguments.id()?)?;
    place.lock()?;
    let resources: Resources = serde_json::from_value(resources(&arguments)?)
        .map_err(|error| invalid(format!("--resources: {error}")))?;
    if !place.status(&record).is_alive() {
        return Err(Failure::kind("update the container", "state").detail("container not running"));
    }
    let rootless = bundle::open_host()?.rootless;
    if let Some(scope) = &record.scope {
        scope.set(&cgroup_properties(
            &record.cgroups,
            resources.clone(),
            rootless,
        )?)?;
    }
    update_cgroups(&record.cgroups, resources, rootless)?;
    Ok(0)
}

fn resources(arguments: &Arguments) -> Result<Value> {
    let mut resources = match arguments.value("resources") {
        Some(path) => read(path)?,
        None => json!({}),
    };
    for (option, place) in NUMBERS {
        if let Some(number) = arguments.number::<i64>(option)? {
            put(&mut resources, place, json!(number));
        }
    }
    for (option, place) in [("cpuset-cpus", "/cpu/cpus"), ("cpuset-mems", "/cpu/mems")] {
        if let Some(text) = arguments.value(option) {
            put(&mut resources, place, json!(text));
        }
    }
    Ok(resources)
}

fn read(path: &str) -> Result<Value> {
    let mut text = String::new();
    match path {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        path => std::fs::read_to_string(path).map(|read| text = read),
    }
    .step_at("read the resources", path)?;
    serde_json::from_str(&text).map_err(|error| invalid(format!("--resources: {error}")))
}

fn put(resources: &mut Value, place: &str, value: Value) {
    let mut at = resources;
    for key in place.split('/').skip(1) {
        at = &mut at[key];
    }
    *at = value;
}
