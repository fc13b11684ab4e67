//! Mounts that are made for a container from outside of it: what a process in a user namespace can neither reach nor show
//! with other ids, and what lies in another container.
//!
//! A process of their own makes them, in a mount namespace of its own: overlay takes a layer with other ids only where
//! that is attached somewhere, and nothing of it is ever seen on the host, nor left there by a crash.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::process::{Gid, Signal, Uid, WaitId, WaitIdOptions, waitid};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::config::{IdMapping, IdmapReach, RootfsMount};
use super::container::root_of;
use super::execute;
use super::handover;
use super::identities::user_namespace;
use super::mounts::{PlannedMount, clone_source};
use super::peers::Peers;
use super::plan::Plan;
use super::rootfs::{self, attach_at, bind, clone_tree, detached, mount_part};
use super::spare::Spare;
use crate::error::{Failure, Result, Step};
use crate::protocol::{FrameReader, Report, decode, raw};
use crate::sys;
use crate::sys::mount::{MountAttributes, map_ids, mount_setattr};

/// Mounts that are in no tree yet.
#[derive(Default)]
pub struct Outside {
    /// Parts of the root file system; none: the container mounts it itself.
    pub rootfs: Vec<OwnedFd>,
    /// Sources of the bind mounts with these numbers.
    pub sources: Vec<(usize, OwnedFd)>,
    /// Made ahead of time.
    pub network: Option<OwnedFd>,
}

/// Goes with each of them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Made {
    Rootfs,
    Source(usize),
}

impl Outside {
    /// `None`: the container makes all of its mounts itself.
    pub fn make(plan: &Plan, peers: &Peers) -> Result<Option<Self>> {
        let mapped = plan.mounts.iter().any(|mount| mount.idmap.is_some());
        if !plan.namespaces.user && !mapped && !peers.shares_shm() {
            return Ok(None);
        }
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .step("make a socket pair")?;
        let flags = UnshareFlags::NEWNS.bits() as u64;
        let (_, pidfd) = sys::process::clone(flags, None, || {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let made = make_all(plan, peers, &theirs);
            execute::send(&theirs, &Report::of(made));
            sys::process::exit(0)
        })
        .step("clone a process")?;
        drop(theirs);
        let outside = receive(&ours);
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        outside.map(Some)
    }

    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let sources = self.sources.iter().map(|(_, fd)| fd);
        let all = self.rootfs.iter().chain(sources).chain(&self.network);
        all.map(AsRawFd::as_raw_fd)
    }

    /// Takes what was made ahead of time in place of what the container would make. Its locks are held.
    pub fn use_spare(&mut self, plan: &Plan, spare: Spare) {
        self.network = spare.network;
        match spare.rootfs {
            Some(root) if !plan.namespaces.user && root.is_current() => {
                self.rootfs = vec![root.mount];
            }
            _ => {}
        }
    }
}

fn receive(socket: &OwnedFd) -> Result<Outside> {
    let step = "receive the mounts";
    let mut outside = Outside::default();
    let mut reader = FrameReader::default();
    let mut fds = std::collections::VecDeque::new();
    loop {
        while let Some(frame) = reader.next()? {
            match decode(frame)? {
                Report::Ok(_) => return Ok(outside),
                Report::Error(failure) => return Err(Failure::reported(&failure)),
                Report::Progress(made) => {
                    let fd = fds.pop_front().ok_or_else(|| Failure::new(step))?;
                    match serde_json::from_str(made.get()) {
                        Ok(Made::Rootfs) => outside.rootfs.push(fd),
                        Ok(Made::Source(index)) => outside.sources.push((index, fd)),
                        Err(error) => return Err(Failure::new(step).detail(error.to_string())),
                    }
                }
            }
        }
        let mut buffer = [0; 4096];
        let (length, fd) = handover::receive(socket, &mut buffer, RecvFlags::empty()).step(step)?;
        if length == 0 {
            return Err(Failure::kind(step, "worker-died"));
        }
        fds.extend(fd);
        reader.push(&buffer[..length]);
    }
}

fn make_all(plan: &Plan, peers: &Peers, socket: &OwnedFd) -> Result<()> {
    let send = |made: Made, fd: OwnedFd| {
        handover::send(socket, &Report::Progress(raw(&made)), fd.as_fd()).step("hand a mount over")
    };
    // While this mount namespace is still the host's equal: see `take_sources`.
    for (index, mount) in plan.mounts.iter().enumerate() {
        if mount.options.bind && (plan.namespaces.user || mount.idmap.is_some()) {
            send(Made::Source(index), source(plan, mount)?)?;
        }
    }
    if let Some(shm) = peers.clone_shm()? {
        let shows = |mount: &PlannedMount| {
            mount.options.bind && mount.config.destination == Path::new("/dev/shm")
        };
        if let Some(index) = plan.mounts.iter().position(shows) {
            send(Made::Source(index), shm)?;
        }
    }
    if !plan.namespaces.user {
        return Ok(());
    }
    rootfs::stop_propagation()?;
    let ids = match plan.extension.idmap_rootfs {
        true => Some(Ids::of(&plan.linux.uid_mappings, &plan.linux.gid_mappings)?),
        false => None,
    };
    // Named by their descriptors, which have to stay until the root file system is made of them.
    let mut layers = Vec::new();
    let mut parts = Vec::new();
    for part in &plan.extension.rootfs {
        parts.push(match &ids {
            Some(ids) => ids.map_layers(part, &plan.root, &mut layers)?,
            None => Part::Plan(part.clone()),
        });
    }
    if let Some(ids) = &ids {
        ids.become_root()?;
    }
    for part in parts {
        let mount = match part {
            Part::Mount(mount) => mount,
            Part::Plan(part) => match detached(&part)? {
                Some(mount) => mount,
                None => clone_tree(&mount_part(&part, &plan.root)?)?,
            },
        };
        send(Made::Rootfs, mount)?;
    }
    Ok(())
}

fn source(plan: &Plan, mount: &PlannedMount) -> Result<OwnedFd> {
    let tree = clone_source(mount)?;
    if !mount.is_shared() {
        // Else it would be the host's peer: what the container mounts in it, the host would have too.
        let attributes = MountAttributes {
            propagation: libc::MS_SLAVE,
            recursive: true,
            ..MountAttributes::default()
        };
        mount_setattr(&tree, attributes).step("set the propagation of a mount")?;
    }
    let Some(reach) = mount.idmap else {
        return Ok(tree);
    };
    let (uids, gids) = match mount.config.uid_mappings.is_empty() {
        true => (&plan.linux.uid_mappings, &plan.linux.gid_mappings),
        false => (&mount.config.uid_mappings, &mount.config.gid_mappings),
    };
    if uids.is_empty() || gids.is_empty() {
        return Err(Failure::kind("read mounts", "config-invalid")
            .path(&mount.config.destination)
            .detail("no mappings for its ids: neither its own nor a user namespace's"));
    }
    let path = mount.config.source.as_deref().unwrap_or(Path::new(""));
    Ids::of(uids, gids)?.map(&tree, reach == IdmapReach::Subtree, path)?;
    Ok(tree)
}

/// A part of the root file system, its ids taken care of.
enum Part {
    Plan(RootfsMount),
    Mount(OwnedFd),
}

struct Ids {
    namespace: OwnedFd,
    /// The ids that root has here.
    root: (Uid, Gid),
}

impl Ids {
    fn of(uids: &[IdMapping], gids: &[IdMapping]) -> Result<Self> {
        let namespace = user_namespace(uids, gids).step("make a user namespace")?;
        Ok(Ids {
            namespace,
            root: root_of(uids, gids),
        })
    }

    fn map(&self, tree: &OwnedFd, recursive: bool, path: &Path) -> Result<()> {
        map_ids(tree, self.namespace.as_fd(), recursive).map_err(|errno| {
            Failure::kind("map the ids of a mount", "idmap-unsupported")
                .errno(errno)
                .path(path)
        })
    }

    /// The layers keep the ids of the image on the disk, the writable one too: it can be compared, committed and run again
    /// with other ids.
    fn map_layers(
        &self,
        part: &RootfsMount,
        place: &Path,
        layers: &mut Vec<OwnedFd>,
    ) -> Result<Part> {
        let mut attached = |directory: &Path| {
            let tree = bind(directory, false, false)?;
            self.map(&tree, false, directory)?;
            let tree = attach_at(tree, place)?;
            let name = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
            layers.push(tree);
            Ok::<_, Failure>(name)
        };
        match part {
            RootfsMount::Bind { source, readonly } => {
                let tree = bind(source, *readonly, true)?;
                self.map(&tree, true, source)?;
                Ok(Part::Mount(tree))
            }
            RootfsMount::Overlay {
                lower, upper: None, ..
            } if lower.len() == 1 => {
                let tree = bind(&lower[0], true, false)?;
                self.map(&tree, false, &lower[0])?;
                Ok(Part::Mount(tree))
            }
            RootfsMount::Overlay {
                lower,
                upper,
                work,
                options,
                tmpfs,
            } => {
                rootfs::forget_volatile(work.as_deref(), options)?;
                let lower = lower
                    .iter()
                    .map(|directory| attached(directory))
                    .collect::<Result<_>>()?;
                // Both in one mount, as overlay wants it.
                let (upper, work) = match (upper, work) {
                    (Some(upper), Some(work)) => {
                        let parent = attached(common_parent(upper, work)?)?;
                        let inside = |path: &Path| path.file_name().map(|file| parent.join(file));
                        (inside(upper), inside(work))
                    }
                    _ => (None, None),
                };
                Ok(Part::Plan(RootfsMount::Overlay {
                    lower,
                    upper,
                    work,
                    options: options.clone(),
                    tmpfs: tmpfs.clone(),
                }))
            }
        }
    }

    /// Overlay does its own work in the writable layer as whoever mounts it, who needs an id there: root's, which has every
    /// right all the same.
    fn become_root(&self) -> Result<()> {
        let step = "become the container's root";
        rustix::thread::set_keep_capabilities(true).step(step)?;
        let mut capabilities = rustix::thread::capabilities(None).step(step)?;
        let (uid, gid) = self.root;
        rustix::thread::set_thread_res_gid(gid, gid, gid).step(step)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).step(step)?;
        capabilities.effective = capabilities.permitted;
        rustix::thread::set_capabilities(None, capabilities).step(step)
    }
}

fn common_parent<'a>(upper: &'a Path, work: &Path) -> Result<&'a Path> {
    match (upper.parent(), work.parent()) {
        (Some(parent), Some(other)) if parent == other => Ok(parent),
        _ => Err(Failure::kind("read keelson.rootfs", "config-invalid")
            .detail("the upper directory and its work directory lie apart")
            .path(upper)),
    }
}
