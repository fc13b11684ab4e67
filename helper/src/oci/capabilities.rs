//! Capabilities that this runtime cannot grant: the specification wants warnings of them, not errors.

use serde_json::Value;

use super::log::Log;
use crate::error::Result;
use crate::run::{PlannedCapabilities, capability_names};

const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
];

/// Leaves out those of `process` that nobody knows.
pub fn drop_unknown(process: &mut Value, log: &Log) {
    let known = capability_names(rustix::thread::CapabilitySet::all());
    let mut unknown: Vec<String> = Vec::new();
    for set in SETS {
        let place = format!("/capabilities/{set}");
        let Some(names) = process.pointer_mut(&place).and_then(Value::as_array_mut) else {
            continue;
        };
        names.retain(|name| {
            let Some(name) = name.as_str() else {
                return true;
            };
            let is_known = known.contains(&name);
            if !is_known && !unknown.iter().any(|other| other == name) {
                unknown.push(name.to_owned());
            }
            is_known
        });
    }
    for name in unknown {
        log.warn(&format!(
            "{name} cannot be granted: there is no such capability"
        ));
    }
}

/// Leaves out what no process may have: ambient ones that are not permitted and inheritable (capabilities(7)).
pub fn drop_impossible(capabilities: &mut PlannedCapabilities, log: &Log) {
    let possible = capabilities.permitted & capabilities.inheritable;
    for name in capability_names(capabilities.ambient - possible) {
        log.warn(&format!(
            "{name} cannot be ambient: it is not both permitted and inheritable"
        ));
    }
    capabilities.ambient &= possible;
}

/// Leaves out those that this process has not got.
pub fn drop_missing(capabilities: &mut PlannedCapabilities, log: &Log) -> Result<()> {
    for name in capabilities.keep_held()? {
        log.warn(&format!(
            "{name} cannot be granted: this process has not got it"
        ));
    }
    Ok(())
}
