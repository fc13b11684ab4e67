//! `process` of the configuration, checked: the same for a container's program and for one executed in it later.

use std::rc::Rc;

use super::command::Command;
use super::config::{ConsoleSize, Process, User};
use super::credentials::{Filter, PlannedCapabilities};
use super::rlimits::{self, PlannedRlimit};
use crate::error::{Failure, Result};

pub struct PlannedProcess {
    pub user: User,
    pub umask: u32,
    pub cwd: String,
    pub command: Command,
    pub capabilities: PlannedCapabilities,
    pub no_new_privileges: bool,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
    pub oom_score_adj: Option<i32>,
    pub rlimits: Vec<PlannedRlimit>,
    /// One that may not be raised so far is lowered to what is there, with a warning.
    pub ulimit_clamp: bool,
    pub filter: Option<Rc<Filter>>,
    /// Its standard streams, and as many descriptors after them, are its parent's.
    pub inherited: Option<u32>,
    /// Its standard streams are a terminal, of this size at first.
    pub terminal: Option<ConsoleSize>,
}

/// "If unspecified, the umask is the runtime's": runc's and Docker's.
const DEFAULT_UMASK: u32 = 0o022;

impl PlannedProcess {
    /// The descriptors behind the standard streams that it gets from its parent.
    pub fn preserved(&self) -> std::ops::Range<i32> {
        3..3 + self.inherited.unwrap_or(0) as i32
    }

    pub fn plan(process: Process, ulimit_clamp: bool, filter: Option<Rc<Filter>>) -> Result<Self> {
        refuse_unsupported(&process)?;
        if !process.cwd.starts_with('/') {
            return Err(Failure::kind("read process.cwd", "config-invalid").detail(process.cwd));
        }
        Ok(PlannedProcess {
            umask: process.user.umask.unwrap_or(DEFAULT_UMASK),
            command: Command::plan(&process)?,
            capabilities: PlannedCapabilities::plan(process.capabilities.as_ref())?,
            no_new_privileges: process.no_new_privileges,
            apparmor: process
                .apparmor_profile
                .filter(|profile| !profile.is_empty()),
            selinux: process.selinux_label.filter(|label| !label.is_empty()),
            oom_score_adj: process.oom_score_adj,
            rlimits: rlimits::plan(&process.rlimits)?,
            ulimit_clamp,
            user: process.user,
            cwd: process.cwd,
            filter,
            inherited: None,
            terminal: process
                .terminal
                .then(|| process.console_size.unwrap_or_default()),
        })
    }
}

/// What would be passed over in silence is an error.
fn refuse_unsupported(process: &Process) -> Result<()> {
    let asked = [
        ("process.scheduler", process.scheduler.is_some()),
        ("process.ioPriority", process.io_priority.is_some()),
        (
            "process.execCPUAffinity",
            process.exec_cpu_affinity.is_some(),
        ),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(Failure::kind("read the configuration", "config-invalid")
            .detail(format!("{field} is not carried out"))),
        None => Ok(()),
    }
}
