//! `linux.cgroupsPath`: which directories it means on this host.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Failure, Result, Step};
use crate::run::Cgroups;

/// The same path in every hierarchy that is mounted. A relative path begins where an absolute one does: at the mount.
pub fn directories(path: Option<&str>, id: &str) -> Result<Cgroups> {
    let path = match path {
        None | Some("") => format!("keelson-oci-{id}"),
        Some(path) => check(path)?.to_owned(),
    };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").step("read the mounts")?;
    Ok(in_hierarchies(&mounts, path.trim_start_matches('/')))
}

fn check(path: &str) -> Result<&str> {
    let leads_up = Path::new(path)
        .components()
        .any(|part| matches!(part, Component::ParentDir));
    let is_empty = path.trim_matches('/').is_empty();
    if leads_up || is_empty {
        return Err(Failure::kind("read linux.cgroupsPath", "config-invalid").detail(path));
    }
    Ok(path)
}

fn in_hierarchies(mounts: &str, path: &str) -> Cgroups {
    let mut cgroups = Cgroups {
        v2: None,
        v1: BTreeMap::new(),
    };
    for line in mounts.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else {
            continue;
        };
        let Some(place) = mount.split(' ').nth(4) else {
            continue;
        };
        let directory = PathBuf::from(place).join(path);
        let mut file_system = file_system.split(' ');
        match file_system.next() {
            Some("cgroup2") => cgroups.v2 = cgroups.v2.or(Some(directory)),
            Some("cgroup") => {
                let options = file_system.nth(1).unwrap_or_default().split(',');
                let controllers: Vec<_> = options.filter(|word| is_controller(word)).collect();
                let name = controllers.join(",");
                if !name.is_empty() {
                    cgroups.v1.entry(name).or_insert(directory);
                }
            }
            _ => {}
        }
    }
    cgroups
}

fn is_controller(option: &str) -> bool {
    let other = matches!(
        option,
        "rw" | "ro" | "xattr" | "noprefix" | "clone_children" | "none"
    );
    !other && (option.starts_with("name=") || !option.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_has_its_directory() {
        let mounts = "\
25 30 0:23 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw,nsdelegate
27 25 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
";
        let cgroups = in_hierarchies(mounts, "docker/1");
        assert_eq!(cgroups.v2, Some("/sys/fs/cgroup/unified/docker/1".into()));
        let v1: Vec<_> = cgroups.v1.iter().collect();
        assert_eq!(v1.len(), 2);
        assert_eq!(v1[0].0, "cpu,cpuacct");
        assert_eq!(v1[1].1, Path::new("/sys/fs/cgroup/systemd/docker/1"));
    }

    #[test]
    fn a_path_may_not_lead_up() {
        for path in ["../other", "/a/../../b", "/"] {
            assert!(check(path).is_err(), "{path}");
        }
    }
}
