//! `hooks`: programs of the configuration's author, told the container's state on their standard input.

use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result, Step};

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hook {
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    /// Seconds.
    timeout: Option<i64>,
}

impl Hooks {
    pub fn is_empty(&self) -> bool {
        self.all().all(|(_, hooks)| hooks.is_empty())
    }

    pub fn check(&self) -> Result<()> {
        for (stage, hooks) in self.all() {
            for hook in hooks {
                let invalid = |detail: &str| {
                    Err(
                        Failure::kind(format!("read hooks.{stage}"), "config-invalid")
                            .path(&hook.path)
                            .detail(detail),
                    )
                };
                if !hook.path.is_absolute() {
                    return invalid("the path must be absolute");
                }
                if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                    return invalid("the timeout must be greater than zero");
                }
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &Vec<Hook>)> {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
        .into_iter()
    }
}

/// The kind of every failure of a hook.
pub const HOOK_FAILED: &str = "hook-failed";

/// Runs them one after the other; the first that fails is the last.
pub fn run_all(stage: &str, hooks: &[Hook], state: &str) -> Result<()> {
    (0..)
        .zip(hooks)
        .try_for_each(|(number, hook)| hook.run(&format!("{stage} hook #{number}"), state))
}

impl Hook {
    /// `which`: `poststop hook #0`.
    pub fn run(&self, which: &str, state: &str) -> Result<()> {
        self.attempt(which, state).map_err(|failure| Failure {
            kind: Some(HOOK_FAILED),
            ..failure
        })
    }

    fn attempt(&self, which: &str, state: &str) -> Result<()> {
        let step = || format!("error running {which}");
        // Files in memory instead of pipes: nobody has to read and write while the hook runs, and what it leaves behind
        // may keep its output open for as long as it likes.
        let mut input = memory_file()?;
        input.write_all(state.as_bytes()).step(step())?;
        input.rewind().step(step())?;
        let mut output = memory_file()?;
        let mut command = Command::new(&self.path);
        if let Some((name, arguments)) = self.args.split_first() {
            command.arg0(name).args(arguments);
        }
        let variables = self
            .env
            .iter()
            .map(|variable| match variable.split_once('=') {
                Some(pair) => pair,
                None => (variable.as_str(), ""),
            });
        let mut child = command
            .env_clear()
            .envs(variables)
            .stdin(input)
            .stdout(output.try_clone().step(step())?)
            .stderr(output.try_clone().step(step())?)
            .spawn()
            .step_at(step(), &self.path)?;
        let status = match self.wait(&mut child).step_at(step(), &self.path)? {
            Some(status) => status,
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::new(step())
                    .path(&self.path)
                    .detail("it took longer than its timeout"));
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        let _ = output.rewind();
        let _ = output.read_to_string(&mut said);
        Err(Failure::new(step()).path(&self.path).detail(format!(
            "{}: {}",
            describe(status),
            said.trim()
        )))
    }

    /// `None` when the time is up.
    fn wait(&self, child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
        let Some(seconds) = self.timeout else {
            return child.wait().map(Some);
        };
        let pid = Pid::from_child(child);
        let pidfd: OwnedFd = pidfd_open(pid, PidfdFlags::empty())?;
        let timeout = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))? {
            0 => Ok(None),
            _ => child.wait().map(Some),
        }
    }
}

fn memory_file() -> Result<std::fs::File> {
    rustix::fs::memfd_create(c"keelson-hook", MemfdFlags::CLOEXEC)
        .step("make a file in memory")
        .map(Into::into)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    }
}
