//! A container: its configuration carried out, its life watched, its remains removed.

mod cgroup;
mod cgroup_mount;
mod child;
mod command;
mod config;
mod container;
mod credentials;
mod devices;
mod filters;
mod masks;
mod mounts;
mod namespaces;
mod plan;
mod procfs;
mod rlimits;
mod root;
mod rootfs;
mod stdio;
mod sysctl;

use std::os::fd::OwnedFd;

pub use cgroup::remove_all as remove_cgroups;
pub use config::Config;
pub use container::{Container, End, Remains, Started};
pub use filters::Filters;
pub use plan::Plan;
pub use procfs::Procfs;

/// What every container needs of the launcher's surroundings, opened once.
pub struct Host {
    pub procfs: Procfs,
    /// The helper's own executable.
    pub helper: OwnedFd,
}
