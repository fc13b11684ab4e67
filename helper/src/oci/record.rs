//! What is known of a container: a file, so that any later command finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::run::{Cgroups, Hooks, SPEC_VERSION, cgroup_is_frozen};
use crate::systemd::Scope;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub id: String,
    /// Zero until there is a process.
    pub pid: i32,
    /// `create` has done its part.
    #[serde(default)]
    pub ready: bool,
    /// All its processes end with the first.
    #[serde(default)]
    pub pid_namespace: bool,
    /// In clock ticks since boot: two processes may have had the same number, but not both.
    pub start_time: u64,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    pub cgroups: Cgroups,
    /// Those of them that were there before the container, and stay.
    #[serde(default)]
    pub others_cgroups: Vec<PathBuf>,
    /// systemd has made them.
    #[serde(default)]
    pub scope: Option<Scope>,
    #[serde(default)]
    pub hooks: Hooks,
    /// The number in the namespace of whoever created it.
    pub owner: u32,
}

/// What `state` and `list` tell, in the order in which runc does.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FullState<'a> {
    oci_version: &'static str,
    pub id: &'a str,
    pub pid: i32,
    pub status: &'static str,
    pub bundle: &'a Path,
    rootfs: &'a Path,
    pub created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    pub owner: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }

    pub fn is_alive(self) -> bool {
        self != Status::Stopped
    }
}

impl Record {
    /// As the specification has it: for hooks, and the ground of what `state` prints.
    pub fn state(&self, status: Status) -> Value {
        let mut state = json!({
            "ociVersion": SPEC_VERSION,
            "id": self.id,
            "status": status.word(),
            "bundle": self.bundle,
        });
        if status != Status::Stopped && self.pid != 0 {
            state["pid"] = json!(self.pid);
        }
        if !self.annotations.is_empty() {
            state["annotations"] = json!(self.annotations);
        }
        state
    }

    /// With what runc adds.
    pub fn full_state(&self, status: Status) -> FullState<'_> {
        FullState {
            oci_version: SPEC_VERSION,
            id: &self.id,
            pid: if status.is_alive() { self.pid } else { 0 },
            status: status.word(),
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            annotations: &self.annotations,
            owner: if self.owner == 0 { "root" } else { "" },
        }
    }

    /// Whether the process is there, and still the same.
    pub fn is_alive(&self) -> bool {
        self.pid > 0 && start_time(self.pid) == Some(self.start_time)
    }

    /// Cgroups that go with the container.
    pub fn own_cgroups(&self) -> Vec<PathBuf> {
        let mut directories = self.cgroups.directories();
        directories.retain(|directory| !self.others_cgroups.contains(directory));
        directories
    }

    /// Once the cgroup is gone. It vanishes with its last process by itself: this only waits for that.
    pub fn forget_scope(&self) -> Option<Failure> {
        self.scope.as_ref()?.stop().err()
    }

    pub fn is_paused(&self) -> bool {
        cgroup_is_frozen(&self.cgroups.directories()).unwrap_or(false)
    }
}

/// `None` when there is no such process, or nothing but its exit status.
pub fn start_time(pid: i32) -> Option<u64> {
    const START_TIME: usize = 19; // behind the name, counted from the state
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    match fields.clone().next() {
        Some("Z" | "X" | "x") | None => None,
        Some(_) => fields.nth(START_TIME)?.parse().ok(),
    }
}
