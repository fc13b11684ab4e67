//! The container's cgroups: v2, v1, or both at once on a hybrid host.

mod device_program;
mod devices;
mod directories;
mod freeze;
mod kill;
mod nested;
mod oom;
mod properties;
mod remove;
mod v1;
mod v2;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Uid};

use super::config::{Cgroups, HugepageLimit, Resources};
use crate::error::{Failure, Result, Step};
use crate::sys::bpf::Instruction;
use crate::systemd::Property;
use devices::Decision;

pub use freeze::{freeze, is_frozen};
pub use kill::{kill_all, processes};
pub use nested::NestedCgroup;
pub use oom::oom_kills;
pub use remove::remove_all;

const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Directories and what is written in them, computed before anything is touched.
pub struct CgroupPlan {
    v2: Option<PathBuf>,
    v2_writes: Vec<Write>,
    v1: Vec<Hierarchy>,
    /// Where devices are not v1's business.
    device_program: Option<Vec<Instruction>>,
}

struct Hierarchy {
    controller: String,
    directory: PathBuf,
    writes: Vec<Write>,
}

/// A value for a file; of several the first whose file exists counts (kernels differ).
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    ways: Vec<(String, String)>,
    /// Where no such file exists, there is nothing to be limited.
    optional: bool,
}

impl CgroupPlan {
    /// A limit that no given cgroup could carry out is an error, not a silence.
    ///
    /// But for devices where this process is in a user namespace: there the kernel lets nobody make a device node, and no
    /// rule could be set; the host's nodes are guarded by their owners and modes.
    pub fn new(cgroups: &Cgroups, mut resources: Resources, rootless: bool) -> Result<Self> {
        if rootless {
            resources.devices = None;
        }
        let mut devices = resources
            .devices
            .take()
            .map(|rules| Decision::of(&devices::with_defaults(rules)));
        let mut v1 = Vec::new();
        for (controller, directory) in &cgroups.v1 {
            let mut writes = v1::take(controller, &mut resources)?;
            if controller.split(',').any(|name| name == "devices") {
                writes.extend(devices.take().iter().flat_map(Decision::v1_writes));
            }
            v1.push(Hierarchy {
                controller: controller.clone(),
                directory: directory.clone(),
                writes,
            });
        }
        let v2_writes = match &cgroups.v2 {
            Some(_) => v2::take(&mut resources)?,
            None => Vec::new(),
        };
        if let Some(limit) = unmet(&resources) {
            return Err(missing(limit));
        }
        if devices.is_some() && cgroups.v2.is_none() {
            return Err(missing("devices"));
        }
        Ok(CgroupPlan {
            v2: cgroups.v2.clone(),
            v2_writes,
            v1,
            device_program: devices.as_ref().map(device_program::assemble),
        })
    }

    /// Every directory, the v2 one first.
    pub fn directories(&self) -> Vec<PathBuf> {
        let v1 = self.v1.iter().map(|hierarchy| hierarchy.directory.clone());
        self.v2.iter().cloned().chain(v1).collect()
    }

    /// The v1 hierarchies the container has a cgroup in, by name, and that cgroup.
    pub fn hierarchies_v1(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.v1
            .iter()
            .map(|hierarchy| (hierarchy.controller.as_str(), hierarchy.directory.as_path()))
    }

    pub fn v2(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// Where the memory controller counts.
    pub fn memory(&self) -> Option<&Path> {
        let v1 = self
            .v1
            .iter()
            .find(|hierarchy| hierarchy.controller == "memory");
        v1.map(|hierarchy| hierarchy.directory.as_path())
            .or(self.v2.as_deref())
    }

    /// Makes the v2 directory, so that a process can be cloned into it.
    pub fn open_v2(&self) -> Result<Option<OwnedFd>> {
        let Some(directory) = &self.v2 else {
            return Ok(None);
        };
        directories::make_v2(directory, &self.v2_writes)?;
        rustix::fs::open(
            directory,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .step_at("open a cgroup", directory)
        .map(Some)
    }

    /// Makes the v1 cgroups and sets every limit.
    pub fn limit(&self, v2: Option<&OwnedFd>) -> Result<()> {
        if let Some(directory) = &self.v2 {
            apply(directory, &self.v2_writes)?;
        }
        for Hierarchy {
            controller,
            directory,
            writes,
        } in &self.v1
        {
            directories::make_v1(controller, directory)?;
            apply(directory, writes)?;
        }
        if let (Some(program), Some(directory)) = (&self.device_program, v2) {
            crate::sys::bpf::attach_device_program(directory, program)
                .step("attach the device program")?;
        }
        Ok(())
    }

    /// Whether there is nothing but v2: no part of v1 may be handed over to whom the host does not trust.
    pub fn is_v2(&self) -> bool {
        self.v2.is_some() && self.v1.is_empty()
    }

    /// Hands the v2 cgroup over: its owner may divide it further, but not change its limits.
    pub fn give_to(&self, owner: Uid) -> Result<()> {
        const STEP: &str = "hand the cgroup over";
        let Some(directory) = &self.v2 else {
            return Ok(());
        };
        // The kernel's own account of what that takes; before Linux 4.15 it had none.
        let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let files = listed.as_deref().unwrap_or(DELEGATED).lines();
        let own = files
            .filter(|file| !file.contains('/'))
            .map(|file| directory.join(file));
        for path in std::iter::once(directory.clone()).chain(own) {
            match rustix::fs::chown(&path, Some(owner), None) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).step_at(STEP, path),
            }
        }
        Ok(())
    }

    /// Moves this process into the v1 cgroups. It is in the v2 one from its first instruction.
    ///
    /// Each process moves itself, as a single thread: that is the one way to move in which the kernel does not first wait
    /// for all processors to notice (an RCU grace period, 5 to 10 ms where nobody has moved lately).
    pub fn join_v1(&self) -> Result<()> {
        self.v1
            .iter()
            .try_for_each(|hierarchy| write(&hierarchy.directory, "tasks", "0"))
    }

    /// Moves `pid`, which may not do it itself, into the v1 cgroups.
    pub fn move_into_v1(&self, pid: Pid) -> Result<()> {
        let pid = pid.as_raw_nonzero().to_string();
        self.v1
            .iter()
            .try_for_each(|hierarchy| write(&hierarchy.directory, "cgroup.procs", &pid))
    }
}

/// Sets limits of cgroups in which a container runs.
pub fn update(cgroups: &Cgroups, resources: Resources, rootless: bool) -> Result<()> {
    let plan = CgroupPlan::new(cgroups, resources, rootless)?;
    let v2 = plan.open_v2()?;
    match plan.limit(v2.as_ref()) {
        // A limit may depend on another one that comes after it: memory may never be above memory and swap.
        Err(failure) if failure.errno == Some(Errno::INVAL.raw_os_error()) => {
            for Hierarchy {
                directory, writes, ..
            } in &plan.v1
            {
                for one in writes.iter().rev() {
                    let _ = apply(directory, std::slice::from_ref(one));
                }
            }
            plan.limit(v2.as_ref())
        }
        limited => limited,
    }
}

/// The same as properties of a systemd unit.
pub fn properties(
    cgroups: &Cgroups,
    resources: Resources,
    rootless: bool,
) -> Result<Vec<Property>> {
    Ok(CgroupPlan::new(cgroups, resources, rootless)?.properties())
}

/// Moves this process into a cgroup, which is made with its parents.
pub fn join(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).step_at("make a cgroup", directory)?;
    write(directory, "cgroup.procs", "0")
}

impl Write {
    fn new(file: impl Into<String>, value: impl ToString) -> Self {
        Write {
            ways: vec![(file.into(), value.to_string())],
            optional: false,
        }
    }

    fn or(mut self, file: &str, value: impl ToString) -> Self {
        self.ways.push((file.into(), value.to_string()));
        self
    }

    fn where_it_exists(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// `pids.max`. None at all would leave the program itself no place: as runc has it, zero is one.
fn pids_max(limit: i64) -> Write {
    Write::new(
        "pids.max",
        if limit == 0 {
            "1".into()
        } else {
            limit_or_max(limit)
        },
    )
}

/// As the files of v2 spell it.
fn limit_or_max(limit: i64) -> String {
    if limit > 0 {
        limit.to_string()
    } else {
        "max".into()
    }
}

/// What is in use, and what has been reserved: else a program could reserve pages that it is then killed for using.
fn hugetlb(resources: &mut Resources, limit: &str) -> Vec<Write> {
    std::mem::take(&mut resources.hugepage_limits)
        .iter()
        .flat_map(
            |HugepageLimit {
                 page_size,
                 limit: bytes,
             }| {
                [
                    Write::new(format!("hugetlb.{page_size}.{limit}"), bytes),
                    // Since Linux 5.7.
                    Write::new(format!("hugetlb.{page_size}.rsvd.{limit}"), bytes)
                        .where_it_exists(),
                ]
            },
        )
        .collect()
}

/// Of the file that both versions have.
fn rdma(resources: &mut Resources) -> Vec<Write> {
    std::mem::take(&mut resources.rdma)
        .iter()
        .map(|(adapter, limits)| {
            let limit = |name, value: Option<u32>| match value {
                Some(value) => format!(" {name}={value}"),
                None => String::new(),
            };
            let handles = limit("hca_handle", limits.hca_handles);
            let objects = limit("hca_object", limits.hca_objects);
            Write::new("rdma.max", format!("{adapter}{handles}{objects}"))
        })
        .collect()
}

fn apply(directory: &Path, writes: &[Write]) -> Result<()> {
    // Of several values for one file, as rules for devices are, each is a write, but the file need not be found each time.
    let mut last: Option<(&str, OwnedFd)> = None;
    for Write { ways, optional } in writes {
        let mut outcome = Ok(());
        for (file, value) in ways {
            let fd = match last.take() {
                Some((name, fd)) if name == file => Ok(fd),
                _ => open(directory, file),
            };
            outcome = fd.and_then(|fd| {
                write_to(&fd, directory, file, value)?;
                last = Some((file, fd));
                Ok(())
            });
            if !outcome.as_ref().is_err_and(is_missing) {
                break;
            }
        }
        match outcome {
            Err(failure) if is_missing(&failure) => {
                if !optional {
                    return Err(Failure {
                        kind: Some("limit-unsupported"),
                        ..failure
                    });
                }
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

fn is_missing(failure: &Failure) -> bool {
    failure.errno == Some(Errno::NOENT.raw_os_error())
}

/// One value in one write(2), as cgroup files want it.
fn write(directory: &Path, file: &str, value: &str) -> Result<()> {
    write_to(&open(directory, file)?, directory, file, value)
}

fn open(directory: &Path, file: &str) -> Result<OwnedFd> {
    let path = directory.join(file);
    rustix::fs::openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .step_at(format!("write {file}"), &path)
}

fn write_to(fd: &OwnedFd, directory: &Path, file: &str, value: &str) -> Result<()> {
    rustix::io::write(fd, value.as_bytes())
        .step_at(format!("write {file}"), directory.join(file))
        .map_err(|failure| failure.detail(value))
        .map(drop)
}

fn read(directory: &Path, file: &str) -> std::io::Result<String> {
    std::fs::read_to_string(directory.join(file))
}

/// The first limit that is still to be carried out.
fn unmet(resources: &Resources) -> Option<&'static str> {
    let Resources {
        memory,
        cpu,
        pids,
        block_io,
        hugepage_limits,
        unified,
        network,
        rdma,
        devices: _,
    } = resources;
    [
        (
            "memory",
            memory.limit.is_some() || memory.reservation.is_some() || memory.swap.is_some(),
        ),
        ("memory.kernel", memory.kernel.is_some()),
        ("memory.kernelTCP", memory.kernel_tcp.is_some()),
        ("memory.useHierarchy", memory.use_hierarchy.is_some()),
        ("memory.swappiness", memory.swappiness.is_some()),
        (
            "memory.disableOOMKiller",
            memory.disable_oom_killer == Some(true),
        ),
        (
            "cpu",
            cpu.shares.is_some() || cpu.quota.is_some() || cpu.period.is_some(),
        ),
        ("cpu", cpu.burst.is_some() || cpu.idle.is_some()),
        (
            "realtime cpu",
            cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some(),
        ),
        ("cpuset", cpu.cpus.is_some() || cpu.mems.is_some()),
        ("pids", pids.is_some()),
        (
            "blockIO",
            block_io.weight.is_some() || !block_io.weight_device.is_empty(),
        ),
        (
            "blockIO",
            !block_io.throttle_read_bps_device.is_empty()
                || !block_io.throttle_write_bps_device.is_empty()
                || !block_io.throttle_read_iops_device.is_empty()
                || !block_io.throttle_write_iops_device.is_empty(),
        ),
        ("blockIO.leafWeight", block_io.leaf_weight.is_some()),
        ("network.classID", network.class_id.is_some()),
        ("network.priorities", !network.priorities.is_empty()),
        ("rdma", !rdma.is_empty()),
        ("hugepageLimits", !hugepage_limits.is_empty()),
        ("unified", !unified.is_empty()),
    ]
    .into_iter()
    .find_map(|(name, asked)| asked.then_some(name))
}

fn missing(limit: &str) -> Failure {
    Failure::kind("limit resources", "limit-unsupported").detail(format!("no cgroup for {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(v2: bool, v1: &[&str], resources: &str) -> Result<CgroupPlan> {
        let cgroups = Cgroups {
            v2: v2.then(|| "/cg/v2".into()),
            v1: v1
                .iter()
                .map(|name| ((*name).into(), format!("/cg/{name}").into()))
                .collect(),
        };
        CgroupPlan::new(&cgroups, serde_json::from_str(resources).unwrap(), false)
    }

    #[test]
    fn a_hybrid_host_limits_where_the_controller_is() {
        let plan = plan(
            true,
            &["memory", "pids"],
            r#"{"memory":{"limit":1000},"pids":{"limit":5},"hugepageLimits":[{"pageSize":"2MB","limit":7}]}"#,
        )
        .unwrap();
        assert_eq!(
            plan.v1[0].writes,
            [Write::new("memory.limit_in_bytes", 1000)]
        );
        assert_eq!(plan.v1[1].writes, [Write::new("pids.max", 5)]);
        assert_eq!(
            plan.v2_writes,
            [
                Write::new("hugetlb.2MB.max", 7),
                Write::new("hugetlb.2MB.rsvd.max", 7).where_it_exists()
            ]
        );
        assert_eq!(plan.memory(), Some(Path::new("/cg/memory")));
    }

    #[test]
    fn a_limit_without_a_cgroup_is_an_error() {
        assert!(plan(false, &["pids"], r#"{"memory":{"limit":1000}}"#).is_err());
        assert!(plan(false, &[], r#"{"devices":[{"allow":false}]}"#).is_err());
        assert!(plan(false, &[], "{}").is_ok());
    }
}
