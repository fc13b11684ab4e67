//! A container: its configuration carried out, its life watched, its remains removed.

mod bundle;
mod by_another;
mod cgroup;
mod cgroup_mount;
mod child;
mod command;
mod config;
mod container;
mod credentials;
mod deferred;
mod devices;
mod exec;
mod execute;
mod filters;
mod handover;
mod hooks;
mod identities;
mod init;
mod listener;
mod masks;
mod mounts;
mod namespaces;
mod outside;
mod peers;
mod plan;
mod process;
mod procfs;
mod program;
mod remount;
mod rlimits;
mod root;
mod rootfs;
mod scheduling;
mod spare;
mod standby;
mod stdio;
mod sysctl;
mod terminal;
mod writable;

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Result, Step};

pub use cgroup::{
    CgroupPlan, freeze as freeze_cgroup, is_frozen as cgroup_is_frozen, join as join_cgroup,
    kill_all as kill_cgroups, processes as cgroup_processes, properties as cgroup_properties,
    remove_all as remove_cgroups, update as update_cgroups,
};
pub use config::{
    BundleFile, Cgroups, Config, ConsoleSize, IdMapping, Resources, RootfsMount, SPEC_VERSION,
    capability_names,
};
pub use container::{Container, Remains, Removal, id_map, remove_trees};
pub use credentials::PlannedCapabilities;
pub use deferred::{Deferred, START};
pub use exec::{Entry, Exec, ExecRequest, Inside};
pub use filters::Filters;
pub use handover::{receive as take_over, send as hand_over, send_bytes as hand_over_with};
pub use hooks::{HOOK_FAILED, Hooks, run_all as run_hooks};
pub use identities::{mappings_of, user_namespace};
pub use init::init;
pub use listener::connect as connect_to_agent;
pub use plan::Plan;
pub use procfs::Procfs;
pub use program::{End, Started};
pub use root::Root;
pub use rootfs::mount_rootfs;
pub use spare::{Identity, Spare, SpareRoot, make_network, make_root};
pub use standby::{ProgramOrder, lost as standby_lost};
pub use stdio::Streams;
pub use terminal::set_size as set_terminal_size;
pub use writable::WritableLayer;

/// What every container needs of the launcher's surroundings, opened once.
pub struct Host {
    pub procfs: Procfs,
    /// The helper's own executable.
    pub helper: OwnedFd,
    /// The limit on descriptors this process was started with, which is the containers' too.
    pub descriptors: Rlimit,
    /// In a user namespace that an ordinary user made.
    pub rootless: bool,
}

impl Host {
    /// Raises this process's own limit on descriptors as far as it may: a container takes several.
    pub fn open() -> Result<Self> {
        let descriptors = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: descriptors.maximum,
            ..descriptors
        };
        setrlimit(Resource::Nofile, raised).step("raise RLIMIT_NOFILE")?;
        Ok(Host {
            descriptors,
            rootless: false,
            procfs: Procfs::open()?,
            helper: rustix::fs::open(
                "/proc/self/exe",
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .step("open the helper's executable")?,
        })
    }
}
