//! Other containers, some of whose namespaces this one joins.
//!
//! A process is named by a number, which the kernel gives to another once it has been reaped. The container's state says
//! which it is, and its monitor, the parent, writes that it has ended before it makes any other process: so a handle
//! that was opened while the state said the same before and after, on a child of a monitor that lives, is on the right one.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::OpenTreeFlags;
use rustix::thread::LinkNameSpaceType;
use serde::Deserialize;

use super::config::NamespaceType;
use crate::error::{Failure, Result, Step};
use crate::first_process::FirstProcess;
use crate::launch::{LockFile, LockMode};
use crate::sys::namespace::join;

/// What the configuration says of one.
#[derive(Debug, Deserialize)]
pub struct Peer {
    namespaces: Vec<NamespaceType>,
    /// Its `state.json`.
    state: PathBuf,
    /// Its monitor's.
    directory: PathBuf,
    /// Its /dev/shm is what a bind mount there shows.
    #[serde(default)]
    shm: bool,
}

/// Handles on what is joined.
#[derive(Default)]
pub struct Peers {
    namespaces: Vec<(NamespaceType, OwnedFd)>,
    /// Mount namespace of the one whose /dev/shm is shared.
    shm: Option<OwnedFd>,
}

impl Peers {
    pub fn open(peers: &[Peer]) -> Result<Self> {
        let mut opened = Peers::default();
        for peer in peers {
            peer.open(&mut opened)?;
        }
        Ok(opened)
    }

    pub fn namespace(&self, kind: NamespaceType) -> Option<&OwnedFd> {
        let found = self.namespaces.iter().find(|(joined, _)| *joined == kind);
        found.map(|(_, fd)| fd)
    }

    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.namespaces.iter().map(|(_, fd)| fd.as_raw_fd())
    }

    pub fn shares_shm(&self) -> bool {
        self.shm.is_some()
    }

    /// A mount of the other's /dev/shm. To be called in a process of its own: it goes there and comes back.
    pub fn clone_shm(&self) -> Result<Option<OwnedFd>> {
        let Some(theirs) = &self.shm else {
            return Ok(None);
        };
        let step = "share /dev/shm";
        let ours = open("/proc/self/ns/mnt").step(step)?;
        let mount = Some(LinkNameSpaceType::Mount);
        join(theirs, mount).step(step)?;
        let tree = clone_own_shm();
        join(&ours, mount).step(step)?;
        tree.step_at(step, "/dev/shm").map(Some)
    }
}

impl Peer {
    fn open(&self, opened: &mut Peers) -> Result<()> {
        let before = self.read()?;
        let first = FirstProcess {
            pid: before.pid,
            parent: before.monitor,
        };
        let process = first.open().map_err(|_| self.gone())?;
        let namespace = |name: &str| open(first.proc("ns").join(name)).map_err(|_| self.gone());
        for kind in &self.namespaces {
            opened.namespaces.push((*kind, namespace(name(*kind))?));
        }
        if self.shm {
            opened.shm = Some(namespace("mnt")?);
        }
        let same = self.read()? == before && self.has_monitor();
        if same && first.must_live(&process).is_ok() {
            Ok(())
        } else {
            Err(self.gone())
        }
    }

    fn read(&self) -> Result<State> {
        let text = std::fs::read(&self.state).map_err(|_| self.gone())?;
        serde_json::from_slice(&text).map_err(|_| self.gone())
    }

    /// It holds this lock as long as it lives.
    fn has_monitor(&self) -> bool {
        let lock = LockFile {
            path: self.directory.join("lock"),
            mode: LockMode::Shared,
        };
        lock.try_take()
            .is_err_and(|failure| failure.kind == Some("busy"))
    }

    fn gone(&self) -> Failure {
        Failure::kind("join a container's namespaces", "peer-not-running").path(&self.state)
    }
}

#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    pid: i32,
    monitor: i32,
    started_at: Option<String>,
}

/// The root is the other container's, whose processes may change what lies in it at any moment.
fn clone_own_shm() -> rustix::io::Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", directory, Mode::empty())?;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let shm = rustix::fs::openat2(&root, "dev/shm", directory, Mode::empty(), within)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(&shm, "", flags)
}

fn open(path: impl AsRef<Path>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path.as_ref(), flags, Mode::empty())
}

/// Below /proc/<pid>/ns.
fn name(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::Mount => "mnt",
        NamespaceType::Pid => "pid",
        NamespaceType::Ipc => "ipc",
        NamespaceType::Uts => "uts",
        NamespaceType::Network => "net",
        NamespaceType::Cgroup => "cgroup",
        NamespaceType::User => "user",
        NamespaceType::Time => "time",
    }
}
