//! `linux.cgroupsPath`: which directories it means on this host.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::bundle::in_user_namespace;
use crate::error::{Failure, Result, Step};
use crate::run::{CgroupPlan, Cgroups};
use crate::systemd::{Manager, Property, Scope, ScopeRequest};

/// What is known of the cgroups before they are made.
pub struct Placed {
    pub cgroups: Cgroups,
    /// systemd makes them.
    pub scope: Option<PlacedScope>,
}

pub struct PlacedScope {
    pub scope: Scope,
    pub slice: String,
}

impl PlacedScope {
    /// With the limits, and what annotations ask of systemd besides.
    pub fn request(self, id: &str, cgroups: &CgroupPlan, config: &Value) -> Result<ScopeRequest> {
        let mut properties = cgroups.properties();
        for (key, value) in config["annotations"].as_object().into_iter().flatten() {
            let Some(name) = key.strip_prefix("org.systemd.property.") else {
                continue;
            };
            let property = value.as_str().and_then(|text| Property::parse(name, text));
            properties.push(property.ok_or_else(|| {
                Failure::kind(format!("read the annotation {key}"), "config-invalid").detail(
                    format!("no single value in GVariant's text format: {value}"),
                )
            })?);
        }
        Ok(ScopeRequest {
            scope: self.scope,
            slice: self.slice,
            description: format!("Container {id}"),
            properties,
        })
    }
}

/// In the file system, or, with `by_systemd`, as a scope of systemd's.
pub fn place(path: Option<&str>, id: &str, by_systemd: bool) -> Result<Placed> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").step("read the mounts")?;
    if !by_systemd {
        return Ok(Placed {
            cgroups: directories(path, id, &mounts)?,
            scope: None,
        });
    }
    let everywhere = in_hierarchies(&mounts, "");
    let Some(root) = everywhere.v2.filter(|_| everywhere.v1.is_empty()) else {
        return Err(Failure::kind("place the container's cgroup", "no-systemd").detail(
            "--systemd-cgroup needs cgroup v2 alone; use the cgroupfs driver where v1 is mounted",
        ));
    };
    let scope = scope(
        path,
        id,
        rustix::process::geteuid().is_root() && !in_user_namespace(),
    )?;
    let slice = Scope::cgroup_of_slice(scope.scope.manager, &scope.slice)?;
    let path = format!("{}/{}", slice.trim_start_matches('/'), scope.scope.unit);
    Ok(Placed {
        cgroups: Cgroups {
            v2: Some(root.join(path.trim_start_matches('/'))),
            v1: BTreeMap::new(),
        },
        scope: Some(scope),
    })
}

/// Whether this host has no other version.
pub fn is_v2_alone() -> Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").step("read the mounts")?;
    let everywhere = in_hierarchies(&mounts, "");
    Ok(everywhere.v2.is_some() && everywhere.v1.is_empty())
}

/// `slice:prefix:name`, the scope `prefix-name.scope` in that slice.
fn scope(path: Option<&str>, id: &str, by_root: bool) -> Result<PlacedScope> {
    let (manager, own_slice) = match by_root {
        true => (Manager::System, "system.slice"),
        false => (Manager::User, "user.slice"),
    };
    let invalid = |why: &str| {
        Failure::kind("read linux.cgroupsPath", "config-invalid").detail(format!(
            "{why}, for systemd: {:?}",
            path.unwrap_or_default()
        ))
    };
    let (slice, prefix, name) = match path {
        None | Some("") => ("", "keelson", id),
        Some(path) => {
            let parts: Vec<_> = path.split(':').collect();
            match parts.as_slice() {
                [slice, prefix, name] => (*slice, *prefix, *name),
                _ => return Err(invalid("expected slice:prefix:name")),
            }
        }
    };
    if name.is_empty() {
        return Err(invalid("the name is empty"));
    }
    if name.ends_with(".slice") {
        return Err(invalid("a container is a scope, not a slice"));
    }
    let unit = match prefix {
        "" => format!("{name}.scope"),
        prefix => format!("{prefix}-{name}.scope"),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    const LONGEST: usize = 255;
    if unit.len() > LONGEST || !unit.bytes().all(fits) {
        return Err(invalid("no name of a unit"));
    }
    Ok(PlacedScope {
        scope: Scope { manager, unit },
        slice: if slice.is_empty() { own_slice } else { slice }.to_owned(),
    })
}

/// The same path in every hierarchy that is mounted. A relative path begins where an absolute one does: at the mount.
fn directories(path: Option<&str>, id: &str, mounts: &str) -> Result<Cgroups> {
    let path = match path {
        None | Some("") => format!("keelson-oci-{id}"),
        Some(path) => check(path)?.to_owned(),
    };
    Ok(in_hierarchies(mounts, path.trim_start_matches('/')))
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
    fn a_scope_is_named_by_three_words() {
        let placed = scope(Some("system.slice:docker:1234"), "1234", true).unwrap();
        assert_eq!(placed.slice, "system.slice");
        assert_eq!(placed.scope.unit, "docker-1234.scope");
        assert_eq!(placed.scope.manager, Manager::System);
        assert_eq!(
            scope(Some(":cri:a"), "a", true).unwrap().slice,
            "system.slice"
        );
        assert_eq!(scope(Some("::a"), "a", false).unwrap().slice, "user.slice");
        assert_eq!(scope(Some("::a"), "a", true).unwrap().scope.unit, "a.scope");
        let unnamed = scope(None, "web", true).unwrap();
        assert_eq!(unnamed.scope.unit, "keelson-web.scope");
        for path in [
            "/docker/1",
            "a.slice:b",
            "a:b:c:d",
            "a.slice:b:",
            "::x.slice",
            "::a/b",
        ] {
            assert!(scope(Some(path), "id", true).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_may_not_lead_up() {
        for path in ["../other", "/a/../../b", "/"] {
            assert!(check(path).is_err(), "{path}");
        }
    }
}
