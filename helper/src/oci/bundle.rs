//! A bundle's configuration as a plan.

use serde_json::Value;

use crate::error::{Failure, Result};
use crate::run::{Config, Filters, Host, Plan};

pub fn plan(id: &str, config: &str, host: &Host) -> Result<Plan> {
    let config: Config = serde_json::from_str(config).map_err(|error| {
        Failure::kind("read config.json", "config-invalid").detail(error.to_string())
    })?;
    Plan::new(
        id.to_owned(),
        config,
        &mut Filters::default(),
        host.rootless,
    )
}

/// What this process runs in, where it may be a user namespace.
pub fn open_host() -> Result<Host> {
    let mut host = Host::open()?;
    host.rootless = in_user_namespace();
    Ok(host)
}

pub fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<_> = map.split_whitespace().collect();
    fields != ["0", "0", "4294967295"]
}

pub fn annotations(config: &Value) -> std::collections::BTreeMap<String, String> {
    serde_json::from_value(config["annotations"].clone()).unwrap_or_default()
}
