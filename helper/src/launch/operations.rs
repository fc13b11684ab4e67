//! The operations that run in a worker: a name and a function over plain values.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::run::remove_cgroups;
use crate::{fs, layer, net, probe};

/// Arguments (the whole request), a sink for progress, and the answer. It runs in its own process: it may block, change
/// directory, enter namespaces, start threads, and leak what ends with the process. `cancel` is a SIGKILL.
pub type Operation = fn(Value, &mut dyn FnMut(Value)) -> Result<Value>;

pub fn find(op: &str) -> Option<Operation> {
    Some(match op {
        "archive.create" => |args, progress| layer::create(&arguments(args)?, progress),
        "archive.extract" => |args, progress| layer::extract(&arguments(args)?, progress),
        "cgroup.remove" => |args, _| cgroup_remove(&arguments(args)?),
        "fs.list" => |args, progress| fs::list(&arguments(args)?, progress),
        "fs.mkdir" => |args, _| fs::mkdir(&arguments(args)?),
        "fs.open" => |args, progress| fs::open(&arguments(args)?, progress),
        "fs.read" => |args, _| answer(fs::read(&arguments(args)?)),
        "fs.remove" => |args, _| fs::remove_in_root(&arguments(args)?),
        "fs.stat" => |args, _| answer(fs::stat(&arguments(args)?)),
        "fs.write" => |args, progress| answer(fs::write(&arguments(args)?, progress)),
        "layer.apply" => |args, progress| answer(layer::apply(&arguments(args)?, progress)),
        "layer.create" => |args, _| answer(layer::commit(&arguments(args)?)),
        "layer.inherit" => |args, _| answer(layer::inherit(&arguments(args)?)),
        "network.apply" => |args, _| net::apply(&arguments(args)?),
        "network.faults" => |_, progress| net::faults(progress),
        "network.firewall" => |_, _| net::firewall(),
        "network.links" => |_, _| net::links(),
        "network.prefixes" => |args, _| net::prefixes(&arguments(args)?),
        "probe" => |args, _| answer(probe::probe(&arguments(args)?)),
        "tree.copy" => |args, _| answer(fs::copy(&arguments(args)?)),
        "tree.diff" => |args, progress| layer::diff(&arguments(args)?, progress),
        "tree.remove" => |args, _| answer(fs::remove(&arguments(args)?)),
        "tree.sync" => |args, _| answer(fs::sync(&arguments(args)?)),
        "tree.usage" => |args, _| answer(fs::usage(&arguments(args)?)),
        "volume.populate" => |args, _| answer(fs::populate(&arguments(args)?)),
        _ => return None,
    })
}

#[derive(Deserialize)]
struct CgroupRemove {
    paths: Vec<PathBuf>,
}

fn cgroup_remove(args: &CgroupRemove) -> Result<Value> {
    match remove_cgroups(&args.paths).into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(json!({})),
    }
}

/// An operation's typed answer as the plain value that travels.
pub fn answer(result: Result<impl Serialize>) -> Result<Value> {
    Ok(serde_json::to_value(result?).expect("plain data has a JSON form"))
}

/// The typed arguments of an operation.
pub fn arguments<T: DeserializeOwned>(args: Value) -> Result<T> {
    serde_json::from_value(args)
        .map_err(|error| Failure::kind("decode the request", "protocol").detail(error.to_string()))
}
