//! What a monitor carries out, as `start` brings it; `MonitorPlan` in `src/runtime/monitor-protocol.ts`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::health::HealthPlan;
use super::journal::Journal;
use crate::error::{Failure, Result};
use crate::run::Config;

#[derive(Deserialize)]
pub struct MonitorPlan {
    /// As text: it is read anew for every start.
    pub config: Box<RawValue>,
    pub state: StateFile,
    pub log: Option<LogPlan>,
    pub restart: RestartPlan,
    pub health: Option<HealthPlan>,
    pub stop: StopPlan,
    pub remove: RemovePlan,
    pub journal: Option<Journal>,
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct StateFile {
    pub path: PathBuf,
    pub durable: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPlan {
    pub path: PathBuf,
    pub max_size: Option<u64>,
    pub max_files: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartPlan {
    pub when: RestartWhen,
    pub max_retries: Option<u32>,
    pub delay: u64,
    pub max_delay: u64,
    pub reset_after: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartWhen {
    Never,
    Failure,
    Always,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct StopPlan {
    pub signal: i32,
    /// Milliseconds; negative: for ever.
    pub timeout: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovePlan {
    pub at_exit: bool,
    /// When nothing is left of the last run.
    pub marker: Option<PathBuf>,
    pub trees: Vec<PathBuf>,
}

impl MonitorPlan {
    pub fn config(&self) -> Result<Config> {
        serde_json::from_str(self.config.get()).map_err(|error| {
            Failure::kind("read the configuration", "protocol").detail(error.to_string())
        })
    }
}

impl StopPlan {
    pub fn patience(&self) -> Option<Duration> {
        u64::try_from(self.timeout).ok().map(Duration::from_millis)
    }
}
