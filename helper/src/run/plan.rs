//! A configuration, checked as far as values can tell, and brought into the form that is carried out.

use std::path::PathBuf;

use rustix::process::Uid;
use serde_json::{Value, json};

use super::bundle;
use super::cgroup::CgroupPlan;
use super::config::{Config, Device, Extension, Linux, Mount, Propagation, SPEC_VERSION};
use super::container::map;
use super::deferred::Deferred;
use super::filters::Filters;
use super::hooks::Hooks;
use super::mounts::PlannedMount;
use super::namespaces::PlannedNamespaces;
use super::process::PlannedProcess;
use super::scheduling::PlannedPersona;
use super::sysctl;
use crate::error::{Failure, Result};
use crate::systemd::ScopeRequest;

pub struct Plan {
    pub container: String,
    pub namespaces: PlannedNamespaces,
    pub linux: Linux,
    pub root: PathBuf,
    pub readonly_root: bool,
    pub propagation: Option<Propagation>,
    pub mounts: Vec<PlannedMount>,
    pub devices: Vec<Device>,
    pub cgroups: CgroupPlan,
    /// Who gets the cgroup for its own, where the container may write there.
    pub cgroup_owner: Option<Uid>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub process: PlannedProcess,
    pub persona: PlannedPersona,
    pub extension: Extension,
    /// Run for a deferred container only.
    pub hooks: Hooks,
    /// Were there before the container, and stay.
    pub others_cgroups: Vec<PathBuf>,
    /// The program waits for `start`.
    pub deferred: Option<Deferred>,
    /// systemd makes the container's cgroup.
    pub scope: Option<ScopeRequest>,
    /// Which program, it hears later: `process.args` and `process.env` are for others.
    pub waits: bool,
}

impl Plan {
    pub fn new(
        container: String,
        config: Config,
        filters: &mut Filters,
        rootless: bool,
    ) -> Result<Self> {
        refuse_unsupported(&config)?;
        bundle::check(&config.keelson.files)?;
        let Config {
            process,
            root,
            hostname,
            domainname,
            mounts,
            mut linux,
            mut keelson,
            hooks,
        } = config;
        hooks.check()?;
        linux
            .sysctl
            .keys()
            .try_for_each(|name| sysctl::check(name))?;
        let propagation = match &linux.rootfs_propagation {
            None => None,
            Some(word) => Some(Propagation::parse(word).ok_or_else(|| {
                Failure::kind("read linux.rootfsPropagation", "config-invalid").detail(word.clone())
            })?),
        };
        let filter = match linux.seccomp.take() {
            Some(profile) => Some(filters.compile(profile.get())?),
            None => None,
        };
        let mounts = plan_mounts(mounts, &mut keelson)?;
        let namespaces = PlannedNamespaces::plan(&linux, !keelson.network.is_empty())?;
        let cgroups = CgroupPlan::new(
            &keelson.cgroups,
            std::mem::take(&mut linux.resources),
            rootless,
        )?;
        let is_given = namespaces.cgroup && cgroups.is_v2() && mounts.iter().any(shows_cgroups);
        let owner = map(&linux.uid_mappings, process.user.uid);
        Ok(Plan {
            container,
            namespaces,
            cgroup_owner: owner.filter(|_| is_given).map(Uid::from_raw),
            root: root.path,
            readonly_root: root.readonly,
            propagation,
            mounts,
            devices: std::mem::take(&mut linux.devices),
            cgroups,
            hostname,
            domainname,
            process: PlannedProcess::plan(process, keelson.ulimit_clamp, filter)?,
            persona: PlannedPersona::plan(
                linux.personality.as_ref(),
                linux.memory_policy.as_ref(),
            )?,
            linux,
            extension: keelson,
            hooks,
            others_cgroups: Vec::new(),
            deferred: None,
            scope: None,
            waits: false,
        })
    }
}

impl Plan {
    /// What others are told of the container, but for the pid.
    pub fn state(&self) -> Value {
        match &self.deferred {
            Some(deferred) => deferred.state.clone(),
            None => json!({
                "ociVersion": SPEC_VERSION,
                "id": self.container,
                "status": "creating",
                "bundle": self.extension.bundle,
            }),
        }
    }

    /// Those that go with the container.
    pub fn own_cgroups(&self) -> Vec<PathBuf> {
        let mut directories = self.cgroups.directories();
        directories.retain(|directory| !self.others_cgroups.contains(directory));
        directories
    }
}

/// For writing.
fn shows_cgroups(mount: &PlannedMount) -> bool {
    mount.is_type("cgroup") && mount.options.set & libc::MOUNT_ATTR_RDONLY == 0
}

fn plan_mounts(mounts: Vec<Mount>, keelson: &mut Extension) -> Result<Vec<PlannedMount>> {
    let planned = mounts
        .into_iter()
        .map(|mount| {
            let extension = keelson.mounts.remove(&mount.destination);
            PlannedMount::plan(mount, extension.unwrap_or_default())
        })
        .collect::<Result<_>>()?;
    match keelson.mounts.keys().next() {
        Some(destination) => Err(Failure::kind("read mounts", "config-invalid")
            .path(destination)
            .detail("keelson.mounts names a destination that no mount has")),
        None => Ok(planned),
    }
}

/// What would be passed over in silence is an error.
fn refuse_unsupported(config: &Config) -> Result<()> {
    let Config { linux, .. } = config;
    let asked = [
        (
            linux
                .mount_label
                .as_ref()
                .is_some_and(|label| !label.is_empty()),
            "linux.mountLabel: mounts are not given SELinux contexts",
        ),
        (
            linux.intel_rdt.is_some(),
            "linux.intelRdt is not carried out",
        ),
        (
            linux.net_devices.is_some(),
            "linux.netDevices is for `oci` alone",
        ),
    ];
    match asked.into_iter().find(|(asked, _)| *asked) {
        Some((_, why)) => {
            Err(Failure::kind("read the configuration", "config-invalid").detail(why))
        }
        None => Ok(()),
    }
}
