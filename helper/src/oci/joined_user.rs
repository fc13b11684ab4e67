//! A user namespace that is joined: its mappings are what it has, whether or not the configuration repeats them.

use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use crate::error::{Failure, Result, Step};
use crate::run::{IdMapping, mappings_of};

/// Writes them into the configuration, where everything looks for them later, when the path may lead nowhere any more.
pub fn complete(config: &mut Value) -> Result<()> {
    let linux = &mut config["linux"];
    let namespaces = linux["namespaces"].as_array().into_iter().flatten();
    let mut users = namespaces.filter(|namespace| namespace["type"] == "user");
    let Some(path) = users.find_map(|user| user["path"].as_str()) else {
        return Ok(());
    };
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step_at("open a namespace", path)?;
    let (uids, gids) = mappings_of(namespace)?;
    for (field, mappings) in [("uidMappings", uids), ("gidMappings", gids)] {
        take(&mut linux[field], field, &mappings)?;
    }
    Ok(())
}

fn take(given: &mut Value, field: &str, mappings: &[IdMapping]) -> Result<()> {
    let differs = |given: &Value| {
        let given: Vec<IdMapping> = serde_json::from_value(given.clone()).unwrap_or_default();
        !given.is_empty() && given != mappings
    };
    if differs(given) {
        return Err(
            Failure::kind(format!("read linux.{field}"), "config-invalid")
                .detail("the user namespace that is joined has others"),
        );
    }
    *given = json!(mappings);
    Ok(())
}
