//! A mount of type `cgroup`: the container's own cgroups, as the version in use shows them.

use std::path::Path;

use super::mounts::{PlannedMount, new_mount};
use super::root::{Root, attach};
use crate::error::{Result, Step};

const CGROUP_ATTRIBUTES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// Cgroup v2 alone is one mount; with v1 each hierarchy has a directory of its own below a tmpfs, as runc lays it out.
/// What they show begins at the container's cgroup, because its cgroup namespace was made there.
pub fn mount_cgroups(root: &Root, mount: &PlannedMount) -> Result<()> {
    let destination = &mount.config.destination;
    let target = root.make_directory(destination).step_at("make a mount point", destination)?;
    let attributes = mount.options.set | CGROUP_ATTRIBUTES;
    let hierarchies = hierarchies()?;
    if hierarchies.is_empty() {
        let unified = new_mount("cgroup2", None, &[], attributes)?;
        return attach(unified, target).step_at("attach a mount", destination);
    }
    let data = [("mode".to_owned(), Some("755".to_owned()))];
    let tmpfs = new_mount("tmpfs", None, &data, attributes & !libc::MOUNT_ATTR_RDONLY)?;
    attach(&tmpfs, target).step_at("attach a mount", destination)?;
    for controllers in &hierarchies {
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let place = destination.join(name);
        let target = root.make_directory(&place).step_at("make a mount point", &place)?;
        let data: Vec<_> = match controllers.strip_prefix("name=") {
            Some(name) => vec![("name".to_owned(), Some(name.to_owned())), ("none".to_owned(), None)],
            None => controllers.split(',').map(|controller| (controller.to_owned(), None)).collect(),
        };
        let hierarchy = new_mount("cgroup", None, &data, attributes).map_err(|failure| failure.path(&place))?;
        attach(hierarchy, target).step_at("attach a mount", &place)?;
        // `cpu,cpuacct` is also found under each of its names.
        for controller in controllers.split(',').filter(|_| controllers.contains(',')) {
            rustix::fs::symlinkat(name, &tmpfs, controller).step_at("link a cgroup controller", &place)?;
        }
    }
    if mount.options.set & libc::MOUNT_ATTR_RDONLY != 0 {
        let attributes = crate::sys::mount::MountAttributes {
            set: libc::MOUNT_ATTR_RDONLY,
            ..Default::default()
        };
        crate::sys::mount::mount_setattr(&tmpfs, attributes).step_at("make a mount read-only", destination)?;
    }
    Ok(())
}

/// The v1 hierarchies, each by its controllers as mounted.
fn hierarchies() -> Result<Vec<String>> {
    let file = Path::new("/proc/self/cgroup");
    let text = std::fs::read_to_string(file).step_at("read the cgroups of this process", file)?;
    Ok(parse_hierarchies(&text))
}

fn parse_hierarchies(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split(':').nth(1))
        .filter(|controllers| !controllers.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_is_not_one_of_the_v1_hierarchies() {
        assert!(parse_hierarchies("0::/user.slice\n").is_empty());
        assert_eq!(
            parse_hierarchies("9:name=systemd:/\n4:cpu,cpuacct:/a:b\n0::/\n"),
            ["name=systemd", "cpu,cpuacct"]
        );
    }
}
