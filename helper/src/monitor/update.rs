//! Other limits, or another restart policy, while the container lives.

use super::monitor::Monitor;
use super::plan::RestartPlan;
use crate::error::{Failure, Result};
use crate::protocol::raw;
use crate::run::{Resources, update_cgroups};

impl Monitor<'_> {
    /// Resources hold for this run and the next ones.
    pub fn update(
        &mut self,
        resources: Option<serde_json::Value>,
        restart: Option<RestartPlan>,
    ) -> Result<()> {
        let Some(plan) = &mut self.plan else {
            return Err(Failure::kind("update the container", "not-running"));
        };
        if let Some(resources) = resources {
            let mut config: serde_json::Value =
                serde_json::from_str(plan.config.get()).unwrap_or_default();
            merge(&mut config["linux"]["resources"], &resources);
            if self.life.is_some() {
                let cgroups = plan.config()?.keelson.cgroups;
                let resources: Resources = serde_json::from_value(resources).map_err(|error| {
                    Failure::kind("read the resources", "protocol").detail(error.to_string())
                })?;
                update_cgroups(&cgroups, resources, self.host.rootless)?;
            }
            plan.config = raw(&config);
        }
        if let Some(restart) = restart {
            plan.restart = restart;
        }
        Ok(())
    }
}

/// Objects member by member; everything else is replaced.
fn merge(old: &mut serde_json::Value, new: &serde_json::Value) {
    match (old, new) {
        (serde_json::Value::Object(old), serde_json::Value::Object(new)) => {
            for (name, value) in new {
                merge(
                    old.entry(name.clone()).or_insert(serde_json::Value::Null),
                    value,
                );
            }
        }
        (old, new) => *old = new.clone(),
    }
}
