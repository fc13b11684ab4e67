//! What is written for cgroup v1.

use super::{Write, hugetlb, pids_max, rdma};
use crate::error::Result;
use crate::run::config::{InterfacePriority, Resources, Throttle};

/// Takes out of `resources` what `controller` carries out.
pub fn take(controller: &str, resources: &mut Resources) -> Result<Vec<Write>> {
    // Hierarchies with several controllers are named by all of them: `cpu,cpuacct`.
    Ok(controller
        .split(',')
        .flat_map(|controller| match controller {
            "memory" => memory(resources),
            "cpu" => cpu(resources),
            "cpuset" => cpuset(resources),
            "pids" => pids(resources),
            "blkio" => blkio(resources),
            "hugetlb" => hugetlb(resources, "limit_in_bytes"),
            "net_cls" => net_cls(resources),
            "net_prio" => net_prio(resources),
            "rdma" => rdma(resources),
            _ => Vec::new(),
        })
        .collect())
}

fn memory(resources: &mut Resources) -> Vec<Write> {
    let memory = std::mem::take(&mut resources.memory);
    let mut writes = Vec::new();
    if let Some(hierarchical) = memory.use_hierarchy {
        writes.push(Write::new("memory.use_hierarchy", u8::from(hierarchical)));
    }
    // Memory before memory and swap: the first may never be the larger one.
    let limits = [
        ("memory.limit_in_bytes", memory.limit),
        ("memory.memsw.limit_in_bytes", memory.swap),
        ("memory.soft_limit_in_bytes", memory.reservation),
        ("memory.kmem.limit_in_bytes", memory.kernel),
        ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp),
    ];
    for (file, limit) in limits {
        if let Some(limit) = limit.filter(|&limit| limit != 0) {
            writes.push(Write::new(file, limit));
        }
    }
    if let Some(swappiness) = memory.swappiness {
        writes.push(Write::new("memory.swappiness", swappiness));
    }
    if memory.disable_oom_killer == Some(true) {
        writes.push(Write::new("memory.oom_control", 1));
    }
    writes
}

fn cpu(resources: &mut Resources) -> Vec<Write> {
    let cpu = &mut resources.cpu;
    let mut writes = Vec::new();
    if let Some(shares) = cpu.shares.take().filter(|&shares| shares != 0) {
        writes.push(Write::new("cpu.shares", shares));
    }
    if let Some(period) = cpu.realtime_period.take() {
        writes.push(Write::new("cpu.rt_period_us", period));
    }
    if let Some(runtime) = cpu.realtime_runtime.take() {
        writes.push(Write::new("cpu.rt_runtime_us", runtime));
    }
    if let Some(period) = cpu.period.take().filter(|&period| period != 0) {
        writes.push(Write::new("cpu.cfs_period_us", period));
    }
    if let Some(quota) = cpu.quota.take().filter(|&quota| quota != 0) {
        writes.push(Write::new("cpu.cfs_quota_us", quota));
    }
    if let Some(burst) = cpu.burst.take() {
        writes.push(Write::new("cpu.cfs_burst_us", burst));
    }
    if let Some(idle) = cpu.idle.take() {
        writes.push(Write::new("cpu.idle", idle));
    }
    writes
}

fn cpuset(resources: &mut Resources) -> Vec<Write> {
    let cpu = &mut resources.cpu;
    let files = [
        ("cpuset.cpus", cpu.cpus.take()),
        ("cpuset.mems", cpu.mems.take()),
    ];
    files
        .into_iter()
        .filter_map(|(file, value)| {
            value
                .filter(|value| !value.is_empty())
                .map(|value| Write::new(file, value))
        })
        .collect()
}

fn pids(resources: &mut Resources) -> Vec<Write> {
    resources
        .pids
        .take()
        .map(|pids| pids_max(pids.limit))
        .into_iter()
        .collect()
}

fn blkio(resources: &mut Resources) -> Vec<Write> {
    let io = std::mem::take(&mut resources.block_io);
    let mut writes = Vec::new();
    if let Some(weight) = io.weight.filter(|&weight| weight != 0) {
        writes.push(Write::new("blkio.weight", weight).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = io.leaf_weight.filter(|&weight| weight != 0) {
        writes.push(Write::new("blkio.leaf_weight", weight));
    }
    for device in &io.weight_device {
        let value = |weight| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = device.weight {
            let write = Write::new("blkio.weight_device", value(weight));
            writes.push(write.or("blkio.bfq.weight_device", value(weight)));
        }
        if let Some(weight) = device.leaf_weight {
            writes.push(Write::new("blkio.leaf_weight_device", value(weight)));
        }
    }
    let throttles = [
        (
            "blkio.throttle.read_bps_device",
            &io.throttle_read_bps_device,
        ),
        (
            "blkio.throttle.write_bps_device",
            &io.throttle_write_bps_device,
        ),
        (
            "blkio.throttle.read_iops_device",
            &io.throttle_read_iops_device,
        ),
        (
            "blkio.throttle.write_iops_device",
            &io.throttle_write_iops_device,
        ),
    ];
    for (file, devices) in throttles {
        for Throttle { major, minor, rate } in devices {
            writes.push(Write::new(file, format!("{major}:{minor} {rate}")));
        }
    }
    writes
}

fn net_cls(resources: &mut Resources) -> Vec<Write> {
    let id = resources.network.class_id.take();
    id.map(|id| Write::new("net_cls.classid", id))
        .into_iter()
        .collect()
}

fn net_prio(resources: &mut Resources) -> Vec<Write> {
    std::mem::take(&mut resources.network.priorities)
        .iter()
        .map(|InterfacePriority { name, priority }| {
            Write::new("net_prio.ifpriomap", format!("{name} {priority}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_before_memory_and_swap() {
        let mut resources: Resources =
            serde_json::from_str(r#"{"memory":{"swap":2000,"limit":1000,"reservation":-1}}"#)
                .unwrap();
        assert_eq!(
            take("memory", &mut resources).unwrap(),
            [
                Write::new("memory.limit_in_bytes", 1000),
                Write::new("memory.memsw.limit_in_bytes", 2000),
                Write::new("memory.soft_limit_in_bytes", -1),
            ]
        );
    }

    #[test]
    fn a_hierarchy_of_two_controllers_takes_the_limits_of_both() {
        let mut resources: Resources = serde_json::from_str(
            r#"{"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0-1"}}"#,
        )
        .unwrap();
        assert_eq!(
            take("cpu,cpuacct", &mut resources).unwrap(),
            [
                Write::new("cpu.shares", 512),
                Write::new("cpu.cfs_period_us", 100000),
                Write::new("cpu.cfs_quota_us", 50000),
            ]
        );
        assert_eq!(resources.cpu.cpus.as_deref(), Some("0-1"));
    }
}
