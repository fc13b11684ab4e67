//! A container as the launcher sees it: a child, a channel to it, and what must go when it is gone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Host;
use super::cgroup::{kill_all, oom_kills, remove_all};
use super::child;
use super::config::IdMapping;
use super::plan::Plan;
use super::rootfs::prepare_rootfs;
use super::stdio::Streams;
use crate::error::{Failure, Result, Step};
use crate::protocol::{self, FrameReader, Report, raw};
use crate::sys;

pub struct Container {
    pub id: String,
    pub pid: Pid,
    pidfd: OwnedFd,
    channel: OwnedFd,
    reader: FrameReader,
    heard: Heard,
    /// Until Node has opened its own.
    streams: Option<Streams>,
    /// All its processes end with pid 1.
    pid_namespace: bool,
    memory: Option<PathBuf>,
    remains: Remains,
}

/// What has arrived over the channel so far.
#[derive(Default)]
struct Heard {
    warnings: Option<Box<RawValue>>,
    failure: Option<Box<RawValue>>,
    closed: bool,
    /// The program runs, although the channel is still open: its pid 1 is the init, which keeps it.
    executed: bool,
    /// How the program ended, when pid 1 is the init.
    status: Option<Status>,
}

/// How a program ended: one of the two is set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Status {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// What the init says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Note {
    Executed,
    Ended(Status),
}

/// Whether the program was executed.
pub enum Started {
    NotYet,
    Yes { warnings: Box<RawValue> },
    No { failure: Box<RawValue> },
}

/// How a container ended.
pub struct End {
    pub status: Status,
    pub oom_killed: bool,
}

/// What a container leaves behind.
#[derive(Default)]
pub struct Remains {
    cgroups: Vec<PathBuf>,
    trees: Vec<PathBuf>,
    /// Held as long as anything of it is there.
    _locks: Vec<OwnedFd>,
}

impl Container {
    /// Starts to carry the plan out. With the failure comes what was made until then.
    pub fn start(
        plan: Plan,
        host: &Host,
    ) -> std::result::Result<Container, Box<(Failure, Remains)>> {
        let mut remains = Remains {
            cgroups: plan.cgroups.directories(),
            trees: [&plan.extension.bundle]
                .into_iter()
                .chain(&plan.extension.remove)
                .cloned()
                .collect(),
            _locks: Vec::new(),
        };
        match begin(&plan, host, &mut remains) {
            Ok((pid, pidfd, channel, streams)) => Ok(Container {
                memory: plan.cgroups.memory().map(Into::into),
                pid_namespace: plan.namespaces.pid,
                id: plan.container,
                pid,
                pidfd,
                channel,
                reader: FrameReader::default(),
                heard: Heard::default(),
                streams: Some(streams),
                remains,
            }),
            Err(failure) => Err(Box::new((failure, remains))),
        }
    }

    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Node's ends of the standard streams.
    pub fn stdio(&self) -> [Option<i32>; 3] {
        self.streams.as_ref().map_or([None; 3], Streams::far_ends)
    }

    /// Node has opened its ends.
    pub fn release(&mut self) {
        self.streams = None;
    }

    /// Takes in what has arrived; false when nothing more will.
    pub fn hear(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match rustix::net::recv(&self.channel, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) if length > 0 => self.reader.push(&buffer[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                _ => {
                    self.heard.closed = true;
                    break;
                }
            }
        }
        while let Ok(Some(frame)) = self.reader.next() {
            match protocol::decode(frame) {
                Ok(Report::Ok(warnings)) => self.heard.warnings = Some(warnings),
                Ok(Report::Error(failure)) => self.heard.failure = Some(failure),
                Ok(Report::Progress(note)) => match serde_json::from_str(note.get()) {
                    Ok(Note::Executed) => self.heard.executed = true,
                    Ok(Note::Ended(status)) => self.heard.status = Some(status),
                    Err(_) => {}
                },
                Err(_) => {}
            }
        }
        !self.heard.closed
    }

    /// Whether the program was executed, as far as known while the child lives: it says that it is about to, and then
    /// either says why it could not or closes the channel by executing.
    pub fn started(&mut self) -> Started {
        let done = self.heard.closed || self.heard.executed;
        match (&self.heard.failure, done) {
            (None, true) => match self.heard.warnings.take() {
                Some(warnings) => Started::Yes { warnings },
                None => Started::NotYet,
            },
            _ => Started::NotYet,
        }
    }

    /// The same when the child has ended: now it is known.
    pub fn started_at_last(&mut self) -> Started {
        match self.started() {
            Started::NotYet => Started::No {
                failure: self
                    .heard
                    .failure
                    .take()
                    .unwrap_or_else(|| raw(&self.why_died())),
            },
            known => known,
        }
    }

    /// Reaps pid 1. Call it when the pidfd says so; before, it waits.
    pub fn end(&mut self) -> End {
        let status = wait(&self.pidfd);
        self.hear();
        End {
            status: self.heard.status.unwrap_or(status),
            oom_killed: self.was_oom_killed(),
        }
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::process::pidfd_send_signal(&self.pidfd, signal).step("send a signal")
    }

    /// Kills every process of the container.
    pub fn kill_all(&self) {
        // With a pid namespace, the end of pid 1 is the end of all.
        let _ = sys::process::pidfd_send_signal(&self.pidfd, libc::SIGKILL);
        if !self.pid_namespace {
            kill_all(&self.remains.cgroups);
        }
    }

    /// False when processes may be left that only the removal of the cgroups ends.
    pub fn ends_with_pid_1(&self) -> bool {
        self.pid_namespace
    }

    /// Kills it and waits for its end.
    pub fn abandon(mut self) -> Remains {
        self.kill_all();
        self.end();
        self.remains
    }

    pub fn into_remains(self) -> (Remains, Option<Streams>) {
        (self.remains, self.streams)
    }

    fn was_oom_killed(&self) -> bool {
        self.memory
            .as_deref()
            .is_some_and(|directory| oom_kills(directory) > 0)
    }

    fn why_died(&self) -> Failure {
        if self.was_oom_killed() {
            Failure::kind("prepare the container", "out-of-memory")
        } else {
            Failure::kind("prepare the container", "killed")
        }
    }
}

impl Remains {
    /// Removes everything, going on after failures. It blocks: for a worker, or at the end.
    pub fn remove(&self) -> Vec<Failure> {
        let mut failures = remove_all(&self.cgroups);
        failures.extend(
            self.trees
                .iter()
                .filter_map(|tree| crate::fs::remove::remove_path(tree).err()),
        );
        failures
    }
}

fn begin(
    plan: &Plan,
    host: &Host,
    remains: &mut Remains,
) -> Result<(Pid, OwnedFd, OwnedFd, Streams)> {
    for lock in &plan.extension.locks {
        remains._locks.push(lock.try_take()?);
    }
    let user = &plan.user;
    let streams = Streams::make(
        &plan.extension.stdio,
        map(&plan.linux.uid_mappings, user.uid),
        map(&plan.linux.gid_mappings, user.gid),
    )?;
    let prepared = match plan.namespaces.user {
        true => Some(prepare_rootfs(&plan.extension.rootfs)?),
        false => None,
    };
    let cgroup = plan.cgroups.open_v2()?;
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("make a socket pair")?;
    let (pid, pidfd) = plan.namespaces.around_clone(|| {
        let cgroup = cgroup.as_ref().map(AsFd::as_fd);
        sys::process::clone(plan.namespaces.at_clone, cgroup, || {
            child::run(plan, prepared, &streams, &theirs, host)
        })
        .step("clone the container")
    })?;
    drop(theirs);
    let admitted = admit(plan, host, pid, cgroup.as_ref()).and_then(|()| {
        // A child that has failed meanwhile is not there to hear it, and has said why.
        match rustix::net::send(&ours, b"!", SendFlags::NOSIGNAL) {
            Err(errno) if errno != Errno::PIPE && errno != Errno::CONNRESET => {
                Err(errno).step("start the container")
            }
            _ => Ok(()),
        }
    });
    if let Err(failure) = admitted {
        let _ = sys::process::pidfd_send_signal(&pidfd, libc::SIGKILL);
        wait(&pidfd);
        return Err(failure);
    }
    Ok((pid, pidfd, ours, streams))
}

/// The launcher's part while the child makes its namespaces.
fn admit(plan: &Plan, host: &Host, pid: Pid, cgroup: Option<&OwnedFd>) -> Result<()> {
    if plan.namespaces.user {
        let pid = pid.as_raw_nonzero();
        host.procfs.write(
            &format!("{pid}/uid_map"),
            id_map(&plan.linux.uid_mappings).as_bytes(),
        )?;
        host.procfs.write(
            &format!("{pid}/gid_map"),
            id_map(&plan.linux.gid_mappings).as_bytes(),
        )?;
    }
    plan.cgroups.limit(cgroup)?;
    // Root of a user namespace may not open the files of a cgroup: it is moved.
    match plan.namespaces.user {
        true => plan.cgroups.move_into_v1(pid),
        false => Ok(()),
    }
}

fn wait(pidfd: &OwnedFd) -> Status {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return Status {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                };
            }
            Err(Errno::INTR) => {}
            _ => {
                return Status {
                    code: None,
                    signal: Some(libc::SIGKILL),
                };
            }
        }
    }
}

/// The launcher's id for one of the container's; `None` when it has none.
fn map(mappings: &[IdMapping], id: u32) -> Option<u32> {
    if mappings.is_empty() {
        return Some(id);
    }
    mappings.iter().find_map(|mapping| {
        let offset = id
            .checked_sub(mapping.container_id)
            .filter(|&offset| offset < mapping.size)?;
        mapping.host_id.checked_add(offset)
    })
}

/// As /proc/<pid>/uid_map takes it, all in one write.
pub fn id_map(mappings: &[IdMapping]) -> String {
    mappings
        .iter()
        .map(
            |IdMapping {
                 container_id,
                 host_id,
                 size,
             }| format!("{container_id} {host_id} {size}\n"),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPINGS: [IdMapping; 2] = [
        IdMapping {
            container_id: 0,
            host_id: 1000,
            size: 1,
        },
        IdMapping {
            container_id: 1,
            host_id: 100_000,
            size: 65535,
        },
    ];

    #[test]
    fn ids_are_mapped_or_not_there() {
        assert_eq!(map(&MAPPINGS, 0), Some(1000));
        assert_eq!(map(&MAPPINGS, 33), Some(100_032));
        assert_eq!(map(&MAPPINGS, 65536), None);
        assert_eq!(map(&[], 7), Some(7));
    }

    #[test]
    fn a_map_is_one_text() {
        assert_eq!(id_map(&MAPPINGS), "0 1000 1\n1 100000 65535\n");
    }
}
