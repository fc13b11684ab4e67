//! `process` of the configuration, checked: the same for a container's program and for one executed in it later.

use std::rc::Rc;

use rustix::fs::Mode;

use super::command::Command;
use super::config::{Process, User};
use super::credentials::{Filter, PlannedCapabilities};
use super::rlimits::{self, PlannedRlimit};
use super::scheduling::PlannedScheduling;
use super::terminal::PlannedTerminal;
use crate::error::{Failure, Result};
use crate::seccomp::Listener;

pub struct PlannedProcess {
    pub user: User,
    pub umask: Mode,
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
    pub scheduling: PlannedScheduling,
    pub filter: Option<Rc<Filter>>,
    /// Its standard streams, and as many descriptors after them, are its parent's.
    pub inherited: Option<u32>,
    /// Its standard streams are a terminal, of this size at first.
    pub terminal: Option<PlannedTerminal>,
}

/// "If unspecified, the umask is the runtime's": runc's and Docker's.
pub const DEFAULT_UMASK: Mode = Mode::from_raw_mode(0o022);

impl PlannedProcess {
    /// Who answers the notifications of its filter.
    pub fn listener(&self) -> Option<&Listener> {
        self.filter.as_ref()?.listener.as_ref()
    }

    /// The descriptors behind the standard streams that it gets from its parent.
    pub fn preserved(&self) -> std::ops::Range<i32> {
        3..3 + self.inherited.unwrap_or(0) as i32
    }

    pub fn plan(process: Process, ulimit_clamp: bool, filter: Option<Rc<Filter>>) -> Result<Self> {
        if !process.cwd.starts_with('/') {
            return Err(Failure::kind("read process.cwd", "config-invalid").detail(process.cwd));
        }
        let label = process.selinux_label.as_ref();
        let selinux = label.filter(|label| !label.is_empty()).cloned();
        if selinux.is_some() && !has_selinux() {
            return Err(Failure::kind("read process.selinuxLabel", "config-invalid")
                .detail("SELinux is not enabled on this host"));
        }
        Ok(PlannedProcess {
            selinux,
            scheduling: PlannedScheduling::plan(&process)?,
            umask: process
                .user
                .umask
                .map_or(DEFAULT_UMASK, Mode::from_raw_mode),
            command: Command::plan(process.args, process.env)?,
            capabilities: PlannedCapabilities::plan(process.capabilities.as_ref())?,
            no_new_privileges: process.no_new_privileges,
            apparmor: process
                .apparmor_profile
                .filter(|profile| !profile.is_empty()),
            oom_score_adj: process.oom_score_adj,
            rlimits: rlimits::plan(&process.rlimits)?,
            ulimit_clamp,
            user: process.user,
            cwd: process.cwd,
            filter,
            inherited: None,
            terminal: process.terminal.then(|| PlannedTerminal {
                size: process.console_size.unwrap_or_default(),
                plain_lines: false,
            }),
        })
    }
}

/// Its file system is known only when the kernel was started with it. Written all the same, the label would reach another
/// security module, which takes it for something of its own.
fn has_selinux() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.split_whitespace().any(|word| word == "selinuxfs")
}
