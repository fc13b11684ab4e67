//! A mount of type `cgroup`: the container's own cgroups, as the version in use shows them.

use super::cgroup::CgroupPlan;
use super::mounts::{PlannedMount, new_mount};
use super::root::{Root, attach};
use crate::error::{Result, Step};
use crate::sys::mount::{MountAttributes, mount_setattr};

const CGROUP_ATTRIBUTES: u64 =
    libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Cgroup v2 alone is one mount; with v1 each hierarchy has a directory of its own below a tmpfs, as runc lays it out.
/// What they show begins at the container's cgroup, because its cgroup namespace was made there; a hierarchy in which
/// it has no cgroup of its own would show the host's, and is left out.
pub fn mount_cgroups(root: &Root, mount: &PlannedMount, cgroups: &CgroupPlan) -> Result<()> {
    let destination = &mount.config.destination;
    let target = root
        .make_directory(destination)
        .step_at("make a mount point", destination)?;
    let attributes = mount.options.set | CGROUP_ATTRIBUTES;
    let hierarchies: Vec<&str> = cgroups.controllers_v1().collect();
    if hierarchies.is_empty() {
        let unified = new_mount("cgroup2", None, &[], attributes)?;
        return attach(unified, target).step_at("attach a mount", destination);
    }
    let data = [("mode".to_owned(), Some("755".to_owned()))];
    let tmpfs = new_mount("tmpfs", None, &data, attributes & !libc::MOUNT_ATTR_RDONLY)?;
    attach(&tmpfs, target).step_at("attach a mount", destination)?;
    for controllers in hierarchies {
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let place = destination.join(name);
        let target = root
            .make_directory(&place)
            .step_at("make a mount point", &place)?;
        let data: Vec<_> = match controllers.strip_prefix("name=") {
            Some(name) => vec![
                ("name".to_owned(), Some(name.to_owned())),
                ("none".to_owned(), None),
            ],
            None => controllers
                .split(',')
                .map(|controller| (controller.to_owned(), None))
                .collect(),
        };
        let hierarchy =
            new_mount("cgroup", None, &data, attributes).map_err(|failure| failure.path(&place))?;
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
