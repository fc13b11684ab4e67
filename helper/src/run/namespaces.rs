//! Which namespaces are new, which are joined, and when.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::config::{Linux, Namespace, NamespaceType, TimeOffset};
use super::peers::Peers;
use super::procfs::Procfs;
use crate::error::{Failure, Result, Step};
use crate::sys::namespace::{join, join_process, unshare};

pub struct PlannedNamespaces {
    /// New ones the child is cloned into.
    pub at_clone: u64,
    /// Making a network namespace is the slowest step of all, so the child makes it while the launcher does the cgroups.
    pub network: bool,
    /// A cgroup namespace shows what the process is in when it is made: after its cgroups were joined.
    pub cgroup: bool,
    /// A user namespace that is not the launcher's.
    pub user: bool,
    /// It is there already, and has its mappings; else it is new, and the launcher maps it. What else is new has to belong
    /// to it, so another process goes there to clone the child, after all that is joined: some of it may be the host's,
    /// where nobody from that user namespace could go.
    pub user_joined: Option<PathBuf>,
    pub pid: bool,
    /// Existing ones the child joins.
    pub join: Vec<(NamespaceType, PathBuf)>,
    /// Existing ones that only a child's child would be in: the launcher enters them around the clone.
    pub join_before: Vec<(NamespaceType, PathBuf)>,
    /// As /proc/<pid>/timens_offsets takes them. Nobody may be in the time namespace yet, so the launcher makes it around
    /// the clone; none: it is made by the clone.
    time_offsets: String,
}

impl PlannedNamespaces {
    /// `links`: the launcher is to put links into the network namespace, which must be there then.
    pub fn plan(linux: &Linux, links: bool) -> Result<Self> {
        let mut planned = PlannedNamespaces {
            at_clone: 0,
            network: false,
            cgroup: false,
            user: false,
            user_joined: None,
            pid: false,
            join: Vec::new(),
            join_before: Vec::new(),
            time_offsets: String::new(),
        };
        for (index, Namespace { kind, path }) in linux.namespaces.iter().enumerate() {
            let twice = linux.namespaces[..index]
                .iter()
                .any(|other| other.kind == *kind);
            if twice {
                return Err(invalid("a type is there twice"));
            }
            match (kind, path) {
                (NamespaceType::Pid | NamespaceType::Time, Some(path)) => {
                    planned.join_before.push((*kind, path.clone()));
                }
                (NamespaceType::User, Some(path)) => {
                    planned.user = true;
                    planned.user_joined = Some(path.clone());
                }
                (_, Some(path)) => planned.join.push((*kind, path.clone())),
                (NamespaceType::Network, None) if !links => planned.network = true,
                (NamespaceType::Cgroup, None) => planned.cgroup = true,
                (kind, None) => {
                    planned.user |= *kind == NamespaceType::User;
                    planned.pid |= *kind == NamespaceType::Pid;
                    planned.at_clone |= flag(*kind).bits() as u64;
                }
            }
        }
        let mount = UnshareFlags::NEWNS.bits() as u64;
        if planned.at_clone & mount == 0 {
            return Err(invalid("a new mount namespace is needed"));
        }
        if planned.user == linux.uid_mappings.is_empty()
            || planned.user == linux.gid_mappings.is_empty()
        {
            return Err(invalid("a user namespace and its mappings go together"));
        }
        if planned.user_joined.is_some() {
            let others = std::mem::take(&mut planned.join);
            planned.join_before.extend(others);
        }
        planned.time_offsets = time_offsets(&linux.time_offsets)?;
        let time = UnshareFlags::NEWTIME.bits() as u64;
        if !planned.time_offsets.is_empty() {
            if planned.at_clone & time == 0 {
                return Err(Failure::kind("read linux.timeOffsets", "config-invalid")
                    .detail("offsets are for a new time namespace"));
            }
            planned.at_clone &= !time;
        }
        Ok(planned)
    }

    /// A network namespace of its own, made at either time.
    pub fn own_network(&self) -> bool {
        self.network || self.at_clone & UnshareFlags::NEWNET.bits() as u64 != 0
    }

    pub fn join_existing(&self, peers: &Peers) -> Result<()> {
        for (kind, path) in &self.join {
            enter(*kind, path, peers)?;
        }
        Ok(())
    }

    /// Whether another process has to clone the child, because this one could not come back: see `clone_by_another`.
    pub fn has_no_return(&self, rootless: bool) -> bool {
        let mut before = self.join_before.iter();
        let joins_pid = before.any(|(kind, _)| *kind == NamespaceType::Pid);
        self.user_joined.is_some() || (rootless && joins_pid)
    }

    /// Sends this process's children into the namespaces of `join_before`.
    pub fn enter_before(&self, procfs: &Procfs, peers: &Peers) -> Result<()> {
        let mut left: Vec<_> = self.join_before.iter().collect();
        if let Some(user) = &self.user_joined {
            // Who is in that namespace already may look into what enters it, but for what cannot be looked into.
            set_dumpable_behavior(DumpableBehavior::NotDumpable).step("hide this process")?;
            let user_file = open(user)?;
            let mut later = Vec::new();
            for one @ (kind, path) in left {
                match enter(*kind, path, peers) {
                    Err(failure) if failure.errno == Some(libc::EPERM) => later.push(one),
                    entered => entered?,
                }
            }
            left = later;
            join(user_file, Some(LinkNameSpaceType::User)).step_at("join a namespace", user)?;
        }
        left.iter()
            .try_for_each(|(kind, path)| enter(*kind, path, peers))?;
        self.make_time_namespace(procfs)
    }

    /// Runs `clone`, which returns in the launcher only, with the children of this process going into the namespaces of
    /// `join_before`.
    pub fn around_clone<T>(
        &self,
        procfs: &Procfs,
        peers: &Peers,
        clone: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let time = (!self.time_offsets.is_empty()).then_some(NamespaceType::Time);
        let left = self.join_before.iter().map(|(kind, _)| *kind).chain(time);
        let back: Vec<_> = left
            .map(|kind| Ok((kind, open(Path::new(own(kind)))?)))
            .collect::<Result<_>>()?;
        let cloned = self.enter_before(procfs, peers).and_then(|()| clone());
        for (kind, fd) in back {
            join(fd, Some(link_type(kind))).step("return to the launcher's namespace")?;
        }
        cloned
    }
}

impl PlannedNamespaces {
    /// For the children of this process.
    fn make_time_namespace(&self, procfs: &Procfs) -> Result<()> {
        if self.time_offsets.is_empty() {
            return Ok(());
        }
        unshare(UnshareFlags::NEWTIME).step("make a time namespace")?;
        procfs.write("self/timens_offsets", self.time_offsets.as_bytes())
    }
}

/// How a process enters the namespaces of a container that runs. Those that it shares with its surroundings are left
/// alone: joining them again is not always allowed.
pub struct JoinPlan {
    /// `CLONE_NEW*`
    flags: UnshareFlags,
    pub user: bool,
    /// Only a child goes into it.
    pid: bool,
}

impl PlannedNamespaces {
    pub fn join_plan(&self) -> JoinPlan {
        let mut flags = UnshareFlags::from_bits_retain(self.at_clone as u32);
        if self.network {
            flags |= UnshareFlags::NEWNET;
        }
        if self.cgroup {
            flags |= UnshareFlags::NEWCGROUP;
        }
        if !self.time_offsets.is_empty() {
            flags |= UnshareFlags::NEWTIME;
        }
        for (kind, _) in self.join.iter().chain(&self.join_before) {
            flags |= flag(*kind);
        }
        if self.user {
            flags |= UnshareFlags::NEWUSER;
        }
        JoinPlan {
            user: flags.contains(UnshareFlags::NEWUSER),
            pid: flags.contains(UnshareFlags::NEWPID),
            flags: flags - UnshareFlags::NEWPID,
        }
    }
}

impl JoinPlan {
    /// Runs `clone`, which returns in the parent only, with this process's children going into the pid namespace of
    /// `process`.
    pub fn around_clone<T>(
        &self,
        process: BorrowedFd<'_>,
        clone: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if !self.pid {
            return clone();
        }
        let back = open(Path::new(own(NamespaceType::Pid)))?;
        join_process(process, UnshareFlags::NEWPID).map_err(not_running)?;
        let cloned = clone();
        join(back, Some(LinkNameSpaceType::ProcessID)).step("return to the own namespace")?;
        cloned
    }

    /// Sends this process's children there for good.
    pub fn enter_pid(&self, process: BorrowedFd<'_>) -> rustix::io::Result<()> {
        match self.pid {
            true => join_process(process, UnshareFlags::NEWPID),
            false => Ok(()),
        }
    }

    /// Enters all others, the user namespace first: the kernel sees to that.
    pub fn join(&self, process: BorrowedFd<'_>) -> Result<()> {
        join_process(process, self.flags).map_err(not_running)
    }
}

/// A process that has ended has no namespaces.
pub fn not_running(errno: Errno) -> Failure {
    let failure = Failure::new("enter the container").errno(errno);
    match errno {
        Errno::SRCH => Failure {
            kind: Some("not-running"),
            ..failure
        },
        _ => failure,
    }
}

pub fn unshare_network() -> Result<()> {
    unshare(UnshareFlags::NEWNET).step("make a network namespace")
}

/// One that was made ahead of time.
pub fn join_network(network: OwnedFd) -> Result<()> {
    join(network, Some(LinkNameSpaceType::Network)).step("join the network namespace")
}

pub fn unshare_cgroup() -> Result<()> {
    unshare(UnshareFlags::NEWCGROUP).step("make a cgroup namespace")
}

fn time_offsets(offsets: &BTreeMap<String, TimeOffset>) -> Result<String> {
    let mut lines = String::new();
    for (clock, TimeOffset { secs, nanosecs }) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(
                Failure::kind("read linux.timeOffsets", "config-invalid").detail(clock.clone())
            );
        }
        lines.push_str(&format!("{clock} {secs} {nanosecs}\n"));
    }
    Ok(lines)
}

/// A peer's namespace is the one that was opened, whatever its path has come to mean.
fn enter(kind: NamespaceType, path: &Path, peers: &Peers) -> Result<()> {
    match peers.namespace(kind) {
        Some(fd) => join(fd, Some(link_type(kind))).step_at("join a namespace", path),
        None => join_path(kind, path),
    }
}

fn join_path(kind: NamespaceType, path: &Path) -> Result<()> {
    join(open(path)?, Some(link_type(kind))).step_at("join a namespace", path)
}

fn open(path: &Path) -> Result<std::os::fd::OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step_at("open a namespace", path)
}

fn own(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Time => "/proc/self/ns/time_for_children",
        _ => "/proc/self/ns/pid_for_children",
    }
}

fn flag(kind: NamespaceType) -> UnshareFlags {
    match kind {
        NamespaceType::Mount => UnshareFlags::NEWNS,
        NamespaceType::Pid => UnshareFlags::NEWPID,
        NamespaceType::Ipc => UnshareFlags::NEWIPC,
        NamespaceType::Uts => UnshareFlags::NEWUTS,
        NamespaceType::Network => UnshareFlags::NEWNET,
        NamespaceType::Cgroup => UnshareFlags::NEWCGROUP,
        NamespaceType::User => UnshareFlags::NEWUSER,
        NamespaceType::Time => UnshareFlags::NEWTIME,
    }
}

fn link_type(kind: NamespaceType) -> LinkNameSpaceType {
    match kind {
        NamespaceType::Mount => LinkNameSpaceType::Mount,
        NamespaceType::Pid => LinkNameSpaceType::ProcessID,
        NamespaceType::Ipc => LinkNameSpaceType::InterProcessCommunication,
        NamespaceType::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        NamespaceType::Network => LinkNameSpaceType::Network,
        NamespaceType::Cgroup => LinkNameSpaceType::ControlGroup,
        NamespaceType::User => LinkNameSpaceType::User,
        NamespaceType::Time => LinkNameSpaceType::Time,
    }
}

fn invalid(detail: &str) -> Failure {
    Failure::kind("read linux.namespaces", "config-invalid").detail(detail)
}
