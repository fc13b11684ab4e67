//! What is written for cgroup v2.

use super::{Write, hugetlb, limit_or_max, pids_max, rdma};
use crate::error::{Failure, Result};
use crate::run::config::Resources;

const DEFAULT_PERIOD: u64 = 100_000;

/// Takes out of `resources` what cgroup v2 carries out.
pub fn take(resources: &mut Resources) -> Result<Vec<Write>> {
    let mut writes = memory(resources)?;
    writes.extend(cpu(resources));
    if let Some(pids) = resources.pids.take() {
        writes.push(pids_max(pids.limit));
    }
    writes.extend(io(resources));
    writes.extend(hugetlb(resources, "max"));
    writes.extend(rdma(resources));
    for (file, value) in std::mem::take(&mut resources.unified) {
        if file.contains('/') || !file.contains('.') || file.starts_with("cgroup.") {
            return Err(
                Failure::kind("read linux.resources.unified", "config-invalid").detail(file),
            );
        }
        writes.push(Write::new(file, value));
    }
    Ok(writes)
}

fn memory(resources: &mut Resources) -> Result<Vec<Write>> {
    let memory = &mut resources.memory;
    let mut writes = Vec::new();
    // It knows no other way.
    memory.use_hierarchy = memory.use_hierarchy.filter(|hierarchical| !hierarchical);
    let limit = memory.limit.take().filter(|&limit| limit != 0);
    if let Some(limit) = limit {
        writes.push(Write::new("memory.max", limit_or_max(limit)));
    }
    if let Some(swap) = memory.swap.take().filter(|&swap| swap != 0) {
        writes.push(Write::new("memory.swap.max", swap_alone(swap, limit)?));
    }
    if let Some(reservation) = memory
        .reservation
        .take()
        .filter(|&reservation| reservation != 0)
    {
        // -1 is that nothing is reserved, where "max" would be that everything is.
        writes.push(Write::new("memory.low", reservation.max(0)));
    }
    Ok(writes)
}

/// The specification counts memory and swap together, as v1 does; v2 counts swap alone.
fn swap_alone(both: i64, memory: Option<i64>) -> Result<String> {
    if both < 0 {
        return Ok("max".into());
    }
    match memory {
        Some(memory) if memory > 0 && both >= memory => Ok((both - memory).to_string()),
        _ => Err(
            Failure::kind("read linux.resources.memory", "config-invalid")
                .detail("swap is memory and swap together: it needs a memory limit, not above it"),
        ),
    }
}

fn cpu(resources: &mut Resources) -> Vec<Write> {
    let cpu = &mut resources.cpu;
    let mut writes = Vec::new();
    if let Some(shares) = cpu.shares.take().filter(|&shares| shares != 0) {
        writes.push(Write::new("cpu.weight", weight_of_shares(shares)));
    }
    let (quota, period) = (cpu.quota.take(), cpu.period.take());
    let quota = quota.filter(|&quota| quota != 0);
    let period = period.filter(|&period| period != 0);
    if quota.is_some() || period.is_some() {
        let quota = limit_or_max(quota.unwrap_or(-1));
        writes.push(Write::new(
            "cpu.max",
            format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)),
        ));
    }
    if let Some(burst) = cpu.burst.take() {
        writes.push(Write::new("cpu.max.burst", burst));
    }
    if let Some(idle) = cpu.idle.take() {
        writes.push(Write::new("cpu.idle", idle));
    }
    for (file, value) in [
        ("cpuset.cpus", cpu.cpus.take()),
        ("cpuset.mems", cpu.mems.take()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            writes.push(Write::new(file, value));
        }
    }
    writes
}

/// Shares [2, 262144] to weight [1, 10000], linearly, as the runtimes do.
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

/// [10, 1000], which BFQ keeps, to [1, 10000], linearly, as the runtimes do.
fn io_weight(weight: u16) -> u16 {
    let weight = u32::from(weight.clamp(10, 1000));
    (1 + (weight - 10) * 9999 / 990) as u16
}

fn io(resources: &mut Resources) -> Vec<Write> {
    let io = std::mem::take(&mut resources.block_io);
    // Leaves have no weight of their own.
    resources.block_io.leaf_weight = io.leaf_weight;
    let mut leaves = io
        .weight_device
        .iter()
        .filter_map(|device| device.leaf_weight);
    resources.block_io.leaf_weight = resources.block_io.leaf_weight.or(leaves.next());
    let mut writes = Vec::new();
    if let Some(weight) = io.weight.filter(|&weight| weight != 0) {
        writes.push(Write::new("io.bfq.weight", weight).or("io.weight", io_weight(weight)));
    }
    for device in &io.weight_device {
        if let Some(weight) = device.weight {
            let value = |weight| format!("{}:{} {weight}", device.major, device.minor);
            writes.push(
                Write::new("io.bfq.weight", value(weight))
                    .or("io.weight", value(io_weight(weight))),
            );
        }
    }
    let throttles = [
        ("rbps", &io.throttle_read_bps_device),
        ("wbps", &io.throttle_write_bps_device),
        ("riops", &io.throttle_read_iops_device),
        ("wiops", &io.throttle_write_iops_device),
    ];
    for (key, devices) in throttles {
        for device in devices {
            let rate = match device.rate {
                // v1's way to say "no limit".
                0 => "max".into(),
                rate => rate.to_string(),
            };
            let (major, minor) = (device.major, device.minor);
            writes.push(Write::new(
                "io.max",
                format!("{major}:{minor} {key}={rate}"),
            ));
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(resources: &str) -> Result<Vec<Write>> {
        take(&mut serde_json::from_str(resources).unwrap())
    }

    #[test]
    fn shares_become_weight() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 39, 10_000]);
        assert_eq!([0, 1, u64::MAX].map(weight_of_shares), [1, 1, 10_000]);
    }

    #[test]
    fn a_weight_of_blocks_is_one_of_bfq_or_of_io() {
        assert_eq!(
            writes(r#"{"blockIO":{"weight":1000}}"#).unwrap(),
            [Write::new("io.bfq.weight", 1000).or("io.weight", 10_000)]
        );
        assert_eq!([10, 1000].map(io_weight), [1, 10_000]);
    }

    #[test]
    fn swap_is_what_is_left_beside_memory() {
        assert_eq!(
            writes(r#"{"memory":{"limit":1000,"swap":1500}}"#).unwrap(),
            [
                Write::new("memory.max", 1000),
                Write::new("memory.swap.max", 500)
            ]
        );
        assert_eq!(
            writes(r#"{"memory":{"limit":1000,"swap":-1}}"#).unwrap()[1],
            Write::new("memory.swap.max", "max")
        );
        assert!(writes(r#"{"memory":{"limit":1000,"swap":999}}"#).is_err());
        assert!(writes(r#"{"memory":{"swap":999}}"#).is_err());
    }

    #[test]
    fn quota_and_period_are_one_file() {
        assert_eq!(
            writes(r#"{"cpu":{"quota":50000}}"#).unwrap(),
            [Write::new("cpu.max", "50000 100000")]
        );
        assert_eq!(
            writes(r#"{"cpu":{"quota":-1,"period":5000}}"#).unwrap(),
            [Write::new("cpu.max", "max 5000")]
        );
    }

    #[test]
    fn unified_names_only_files_of_controllers() {
        assert!(writes(r#"{"unified":{"memory.high":"1000"}}"#).is_ok());
        for file in ["../x.y", "cgroup.procs", "tasks"] {
            assert!(
                writes(&format!(r#"{{"unified":{{"{file}":"1"}}}}"#)).is_err(),
                "{file}"
            );
        }
    }
}
