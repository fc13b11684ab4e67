//! A mount of type `cgroup`: the container's own cgroups, as the version in use shows them.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::cgroup::CgroupPlan;
use super::mounts::{PlannedMount, clone_mount, new_mount};
use super::root::{Root, attach};
use crate::error::{Result, Step};
use crate::sys::mount::{MountAttributes, mount_setattr};

const CGROUP_ATTRIBUTES: u64 =
    libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Cgroup v2 alone is one mount; with v1 each hierarchy has a directory of its own below a tmpfs, as runc lays it out; one
/// in which the container has no cgroup of its own is left out.
///
/// `own_namespace`: what a new mount shows begins at the container's cgroup, because its cgroup namespace was made there.
/// Without, a new mount of v1 would show the host's, and in a user namespace there may be none: the container's own
/// directories are shown.
pub fn mount_cgroups(
    root: &Root,
    mount: &PlannedMount,
    cgroups: &CgroupPlan,
    own_namespace: bool,
) -> Result<()> {
    let destination = &mount.config.destination;
    let target = root
        .make_directory(destination)
        .step_at("make a mount point", destination)?;
    let attributes = mount.options.set | CGROUP_ATTRIBUTES;
    let hierarchies: Vec<_> = cgroups.hierarchies_v1().collect();
    if hierarchies.is_empty() {
        let unified = match (new_mount("cgroup2", None, &[], attributes), cgroups.v2()) {
            (Err(_), Some(directory)) if !own_namespace => show(directory, attributes)?,
            (mounted, _) => mounted?,
        };
        return attach(unified, target).step_at("attach a mount", destination);
    }
    let data = [("mode".to_owned(), Some("755".to_owned()))];
    let tmpfs = new_mount("tmpfs", None, &data, attributes & !libc::MOUNT_ATTR_RDONLY)?;
    attach(&tmpfs, target).step_at("attach a mount", destination)?;
    for (controllers, directory) in hierarchies {
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let place = destination.join(name);
        let target = root
            .make_directory(&place)
            .step_at("make a mount point", &place)?;
        let hierarchy = match own_namespace {
            true => new_mount("cgroup", None, &options_v1(controllers), attributes),
            false => show(directory, attributes),
        };
        let hierarchy = hierarchy.map_err(|failure| failure.path(&place))?;
        attach(hierarchy, target).step_at("attach a mount", &place)?;
        // `cpu,cpuacct` is also found under each of its names.
        for controller in controllers.split(',').filter(|_| controllers.contains(',')) {
            rustix::fs::symlinkat(name, &tmpfs, controller)
                .step_at("link a cgroup controller", &place)?;
        }
    }
    if mount.options.set & libc::MOUNT_ATTR_RDONLY != 0 {
        let attributes = MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttributes::default()
        };
        mount_setattr(&tmpfs, attributes).step_at("make a mount read-only", destination)?;
    }
    Ok(())
}

/// Of mount(2).
fn options_v1(controllers: &str) -> Vec<(String, Option<String>)> {
    match controllers.strip_prefix("name=") {
        Some(name) => vec![
            ("name".to_owned(), Some(name.to_owned())),
            ("none".to_owned(), None),
        ],
        None => controllers
            .split(',')
            .map(|controller| (controller.to_owned(), None))
            .collect(),
    }
}

/// One directory of the host's.
fn show(directory: &Path, attributes: u64) -> Result<OwnedFd> {
    let step = "show a cgroup";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::open(directory, flags, Mode::empty()).step_at(step, directory)?;
    let mount = clone_mount(found, false).step_at(step, directory)?;
    let attributes = MountAttributes {
        set: attributes,
        ..MountAttributes::default()
    };
    mount_setattr(&mount, attributes).step_at(step, directory)?;
    Ok(mount)
}
