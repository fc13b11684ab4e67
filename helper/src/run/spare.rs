//! Parts of a container that were made ahead of its time, so that it need not wait for them: what takes the kernel longest
//! is a network namespace and an overlay. Each is new and is used once; nothing has run in it or written to it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::config::RootfsMount;
use super::namespaces::unshare_network;
use super::plan::Plan;
use super::rootfs::detached;
use crate::error::{Failure, Result, Step};
use crate::sys;

#[derive(Default)]
pub struct Spare {
    /// With lo up.
    pub network: Option<OwnedFd>,
    pub rootfs: Option<SpareRoot>,
    /// Reserved for the run before, of the same plan: nobody else was to have them in between.
    pub ports: Vec<Option<OwnedFd>>,
}

/// A root file system that is mounted, but nowhere.
pub struct SpareRoot {
    pub rootfs: RootfsMount,
    /// Its layers, as they were when it was mounted.
    pub layers: Vec<Identity>,
    pub mount: OwnedFd,
}

/// Device and inode. As long as something holds the inode, no other file has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(u64, u64);

impl Spare {
    /// Whether a container could make use of a network namespace that a child of this process has made.
    pub fn suits_network(plan: &Plan) -> bool {
        plan.namespaces.network && !plan.namespaces.user && plan.extension.loopback
    }
}

impl SpareRoot {
    /// Whether it was made for what the plan asks for.
    pub fn is_for(&self, plan: &Plan) -> bool {
        plan.extension.rootfs.as_slice() == std::slice::from_ref(&self.rootfs)
    }

    /// Whether its layers are those that have these names now. To be asked when they are locked: then they cannot be replaced any
    /// more, but may have been before.
    pub fn is_current(&self) -> bool {
        identities(std::slice::from_ref(&self.rootfs)).is_ok_and(|layers| layers == self.layers)
    }
}

/// Moves this process, which is there for nothing else, into a new network namespace, and opens it.
pub fn make_network() -> Result<OwnedFd> {
    unshare_network()?;
    loopback_up()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/ns/net", flags, Mode::empty()).step("open the network namespace")
}

/// Brings lo up in the network namespace of this process.
pub fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("make a socket")?;
    sys::network::loopback_up(&socket).step("bring lo up")
}

/// Mounts a root file system that is attached nowhere.
pub fn make_root(rootfs: &RootfsMount) -> Result<(OwnedFd, Vec<Identity>)> {
    let parts = std::slice::from_ref(rootfs);
    let before = identities(parts)?;
    let mount = detached(rootfs)?
        .ok_or_else(|| Failure::kind("mount the root file system", "unsupported"))?;
    match identities(parts)? == before {
        true => Ok((mount, before)),
        false => Err(Failure::kind("mount the root file system", "changed")),
    }
}

/// Of all their layers.
pub fn identities(parts: &[RootfsMount]) -> Result<Vec<Identity>> {
    let layers = parts.iter().flat_map(|part| match part {
        RootfsMount::Overlay { lower, .. } => lower,
        RootfsMount::Bind { source, .. } => std::slice::from_ref(source),
    });
    layers.map(|path| identity(path)).collect()
}

fn identity(path: &Path) -> Result<Identity> {
    let stat = rustix::fs::stat(path).step_at("inspect a layer", path)?;
    Ok(Identity(stat.st_dev, stat.st_ino))
}
