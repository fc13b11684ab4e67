//! What is known of the container: told to those who watch, and kept in a file.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::health::Health;
use super::log::Lost;
use super::plan::StateFile;
use crate::error::{Result, Step};

/// `MonitorState` in `src/runtime/monitor-protocol.ts`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub version: u64,
    pub status: Status,
    pub monitor: u32,
    pub pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<RawValue>>,
    pub restart_count: u32,
    pub stopped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Lost>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Stopping,
    Exited,
}

impl State {
    pub fn new() -> Self {
        State {
            version: 0,
            status: Status::Created,
            monitor: std::process::id(),
            pid: 0,
            started_at: None,
            finished_at: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            error: None,
            restart_count: 0,
            stopped: false,
            health: None,
            log: None,
        }
    }
}

impl State {
    /// Goes on from what an earlier monitor of the container has left.
    pub fn follow(&mut self, last: Last) {
        self.version = last.version;
        self.started_at = last.started_at;
        self.finished_at = last.finished_at;
        self.exit_code = last.exit_code;
        self.signal = last.signal;
        self.oom_killed = last.oom_killed;
    }

    /// As the journal has it: without what each health check said.
    pub fn in_brief(&self) -> State {
        let mut brief = self.clone();
        if let Some(health) = &mut brief.health {
            health.log.clear();
        }
        brief
    }
}

/// What stays true of the run before until the next one begins.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Last {
    version: u64,
    started_at: Option<String>,
    finished_at: Option<String>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    oom_killed: bool,
}

/// What an earlier monitor of the container wrote last.
pub fn last(file: &StateFile) -> Last {
    let text = std::fs::read(&file.path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Replaces the file at once: a reader sees the old state or the new one.
pub fn write(file: &StateFile, state: &RawValue) -> Result<()> {
    let step = "write the state";
    let mut name = file.path.clone().into_os_string();
    name.push(".new");
    let temporary = Path::new(&name);
    let written = (|| {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut new = options.open(temporary)?;
        new.write_all(state.get().as_bytes())?;
        if file.durable {
            new.sync_data()?;
        }
        std::fs::rename(temporary, &file.path)?;
        match file.path.parent().filter(|_| file.durable) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(temporary);
    }
    written.step_at(step, &file.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_replaced_and_its_version_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile {
            path: directory.path().join("state.json"),
            durable: true,
        };
        assert_eq!(last(&file).version, 0);
        let state = State {
            version: 7,
            ..State::new()
        };
        write(&file, &crate::protocol::raw(&state)).unwrap();
        assert_eq!(last(&file).version, 7);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
