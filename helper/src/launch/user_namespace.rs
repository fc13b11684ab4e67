//! Rootless: the launcher becomes root of a user namespace of its own, and all it forks is in there with it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::pipe::PipeFlags;
use rustix::thread::UnshareFlags;
use serde::Deserialize;
use serde_json::{Value, json};

use super::worker::Worker;
use crate::error::{Failure, Result, Step};
use crate::run::{IdMapping, Procfs, id_map};
use crate::sys;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserNamespace {
    uid_mappings: Vec<IdMapping>,
    gid_mappings: Vec<IdMapping>,
    newuidmap: Option<PathBuf>,
    newgidmap: Option<PathBuf>,
    setgroups: Setgroups,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Setgroups {
    Allow,
    Deny,
}

pub fn enter(plan: &UserNamespace, procfs: &Procfs) -> Result<()> {
    // The setuid programs refuse to act from inside, so somebody has to stay outside to run them.
    let mapper = match (&plan.newuidmap, &plan.newgidmap) {
        (Some(newuidmap), Some(newgidmap)) => Some(Mapper::start(plan, newuidmap, newgidmap)?),
        _ => None,
    };
    sys::namespace::unshare(UnshareFlags::NEWUSER).step("make a user namespace")?;
    if plan.setgroups == Setgroups::Deny {
        procfs.write("self/setgroups", b"deny")?;
    }
    match mapper {
        Some(mapper) => mapper.map()?,
        None => {
            procfs.write("self/uid_map", id_map(&plan.uid_mappings).as_bytes())?;
            procfs.write("self/gid_map", id_map(&plan.gid_mappings).as_bytes())?;
        }
    }
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("become root of the user namespace")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("become root of the user namespace")
}

/// A process outside of the namespace, waiting to map its ids.
struct Mapper {
    worker: Worker,
    start: OwnedFd,
}

impl Mapper {
    fn start(plan: &UserNamespace, newuidmap: &Path, newgidmap: &Path) -> Result<Self> {
        let (wait, start) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make a pipe")?;
        let launcher = std::process::id().to_string();
        let worker = Worker::spawn(&[wait.as_raw_fd()], |_| {
            let mut word = [0];
            if rustix::io::read(&wait, &mut word).step("wait for the user namespace")? == 0 {
                return Ok(Value::Null);
            }
            run(newuidmap, &launcher, &plan.uid_mappings)?;
            run(newgidmap, &launcher, &plan.gid_mappings)?;
            Ok(json!({}))
        })?;
        Ok(Mapper { worker, start })
    }

    fn map(self) -> Result<()> {
        rustix::io::write(&self.start, b"!").step("start mapping ids")?;
        self.worker.wait()
    }
}

fn run(program: &Path, launcher: &str, mappings: &[IdMapping]) -> Result<()> {
    let step = || format!("run {}", program.display());
    let output = Command::new(program)
        .arg(launcher)
        .args(id_map(mappings).split_whitespace())
        .stdin(Stdio::null())
        .output()
        .step_at(step(), program)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::kind(step(), "user-namespace")
        .path(program)
        .detail(said))
}
