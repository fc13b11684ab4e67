//! How the kernel is to run a program: its scheduler, its I/O priority, its processors, its personality, its memory.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::config::{CpuAffinity, IoPriority, MemoryPolicy, Personality, Process, Scheduler};
use crate::error::{Failure, Result, Step};
use crate::sys::scheduling::{
    SchedulerAttributes, set_io_priority, set_memory_policy, set_personality, set_scheduler,
};

/// Of a program's `process`.
#[derive(Default)]
pub struct PlannedScheduling {
    scheduler: Option<SchedulerAttributes>,
    io_priority: Option<i32>,
    /// Not of a container's own program.
    pub affinity: PlannedAffinity,
}

/// Of the container: every program in it has them.
#[derive(Default, Clone)]
pub struct PlannedPersona {
    personality: Option<u64>,
    memory_policy: Option<(i32, Vec<u64>)>,
}

/// Processors to run on before the program is moved into its cgroup, and behind that.
#[derive(Default)]
pub struct PlannedAffinity {
    pub initial: Option<CpuSet>,
    pub last: Option<CpuSet>,
}

const IOPRIO_CLASS_SHIFT: i32 = 13;

/// personality(2) knows dozens, the specification two.
const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 8;

impl PlannedScheduling {
    pub fn plan(process: &Process) -> Result<Self> {
        let affinity = process.exec_cpu_affinity.as_ref();
        Ok(PlannedScheduling {
            scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
            io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
            affinity: affinity.map(affinities).transpose()?.unwrap_or_default(),
        })
    }

    pub fn apply(&self) -> Result<()> {
        if let Some(attributes) = &self.scheduler {
            set_scheduler(attributes).step("set the scheduler")?;
        }
        if let Some(value) = self.io_priority {
            set_io_priority(value).step("set the I/O priority")?;
        }
        Ok(())
    }
}

impl PlannedPersona {
    pub fn plan(
        personality: Option<&Personality>,
        memory_policy: Option<&MemoryPolicy>,
    ) -> Result<Self> {
        Ok(PlannedPersona {
            personality: personality.map(persona).transpose()?,
            memory_policy: memory_policy.map(policy).transpose()?,
        })
    }

    pub fn apply(&self) -> Result<()> {
        if let Some(persona) = self.personality {
            set_personality(persona).step("set the personality")?;
        }
        if let Some((mode, nodes)) = &self.memory_policy {
            set_memory_policy(*mode, nodes).step("set the memory policy")?;
        }
        Ok(())
    }
}

impl PlannedAffinity {
    /// Runs `clone`, which returns in the parent only, on the processors that the child begins with.
    pub fn around_clone<T>(&self, clone: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(initial) = &self.initial else {
            return clone();
        };
        let step = "set the processors to begin on";
        let before = sched_getaffinity(None).step(step)?;
        sched_setaffinity(None, initial).step(step)?;
        let cloned = clone();
        sched_setaffinity(None, &before).step(step)?;
        cloned
    }

    pub fn is_empty(&self) -> bool {
        self.initial.is_none() && self.last.is_none()
    }

    /// When the program is in its cgroup.
    pub fn apply(&self) -> Result<()> {
        match &self.last {
            Some(processors) => {
                sched_setaffinity(None, processors).step("set the processors to run on")
            }
            None => Ok(()),
        }
    }
}

/// On every processor of the cgroup's: those of the parent are an accident of how it was started. A kernel that does not
/// let it leaves it where it is.
pub fn use_all_processors() {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| all.set(processor));
    let _ = sched_setaffinity(None, &all);
}

fn scheduler(wanted: &Scheduler) -> Result<SchedulerAttributes> {
    let field = "process.scheduler";
    let policies = [
        ("SCHED_OTHER", 0),
        ("SCHED_FIFO", 1),
        ("SCHED_RR", 2),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
        ("SCHED_DEADLINE", 6),
    ];
    let flags = [
        ("SCHED_FLAG_RESET_ON_FORK", 0x01),
        ("SCHED_FLAG_RECLAIM", 0x02),
        ("SCHED_FLAG_DL_OVERRUN", 0x04),
        ("SCHED_FLAG_KEEP_POLICY", 0x08),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
    ];
    let Ok(priority) = u32::try_from(wanted.priority) else {
        return Err(invalid(field, &wanted.priority.to_string()));
    };
    Ok(SchedulerAttributes {
        size: 0,
        policy: number(field, &policies, &wanted.policy)?,
        flags: all(field, &flags, &wanted.flags)?,
        nice: wanted.nice,
        priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    })
}

fn io_priority(wanted: &IoPriority) -> Result<i32> {
    let classes = [
        ("IOPRIO_CLASS_RT", 1),
        ("IOPRIO_CLASS_BE", 2),
        ("IOPRIO_CLASS_IDLE", 3),
    ];
    let class = number("process.ioPriority", &classes, &wanted.class)?;
    match wanted.priority {
        0..=7 => Ok(class << IOPRIO_CLASS_SHIFT | wanted.priority),
        other => Err(invalid("process.ioPriority", &other.to_string())),
    }
}

fn affinities(wanted: &CpuAffinity) -> Result<PlannedAffinity> {
    let processors = |list: &str| -> Result<Option<CpuSet>> {
        let mut set = CpuSet::new();
        for processor in numbers("process.execCPUAffinity", list, CpuSet::MAX_CPU)? {
            set.set(processor);
        }
        Ok((!list.is_empty()).then_some(set))
    };
    Ok(PlannedAffinity {
        initial: processors(&wanted.initial)?,
        last: processors(&wanted.r#final)?,
    })
}

fn persona(wanted: &Personality) -> Result<u64> {
    let field = "linux.personality";
    if let Some(flag) = wanted.flags.first() {
        return Err(invalid(field, flag));
    }
    let domains = [("LINUX", PER_LINUX), ("LINUX32", PER_LINUX32)];
    number(field, &domains, &wanted.domain)
}

fn policy(wanted: &MemoryPolicy) -> Result<(i32, Vec<u64>)> {
    const MOST_NODES: usize = 1024;
    let field = "linux.memoryPolicy";
    let modes = [
        ("MPOL_DEFAULT", 0),
        ("MPOL_PREFERRED", 1),
        ("MPOL_BIND", 2),
        ("MPOL_INTERLEAVE", 3),
        ("MPOL_LOCAL", 4),
        ("MPOL_PREFERRED_MANY", 5),
        ("MPOL_WEIGHTED_INTERLEAVE", 6),
    ];
    let flags = [
        ("MPOL_F_NUMA_BALANCING", 1 << 13),
        ("MPOL_F_RELATIVE_NODES", 1 << 14),
        ("MPOL_F_STATIC_NODES", 1 << 15),
    ];
    let mode = number(field, &modes, &wanted.mode)? | all(field, &flags, &wanted.flags)? as i32;
    let mut mask = Vec::new();
    for node in numbers(field, &wanted.nodes, MOST_NODES)? {
        mask.resize(mask.len().max(node / 64 + 1), 0);
        mask[node / 64] |= 1 << (node % 64);
    }
    Ok((mode, mask))
}

fn number<T: Copy>(field: &str, names: &[(&str, T)], name: &str) -> Result<T> {
    let found = names.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, number)| *number)
        .ok_or_else(|| invalid(field, name))
}

fn all(field: &str, names: &[(&str, u64)], wanted: &[String]) -> Result<u64> {
    let mut all = 0;
    for name in wanted {
        all |= number(field, names, name)?;
    }
    Ok(all)
}

/// Of a list such as `0-3,7`, all below `end`.
fn numbers(field: &str, list: &str, end: usize) -> Result<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last < end => numbers.extend(first..=last),
            _ => return Err(invalid(field, list)),
        }
    }
    Ok(numbers)
}

fn invalid(field: &str, detail: &str) -> Failure {
    Failure::kind(format!("read {field}"), "config-invalid").detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_of_numbers_and_ranges() {
        let list = |text| numbers("x", text, 8);
        assert_eq!(list("0-2,7").unwrap(), [0, 1, 2, 7]);
        assert_eq!(list("").unwrap(), [0; 0]);
        for wrong in ["8", "2-1", "a", "1,", "-1"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn priorities_have_a_class() {
        let plan = |class: &str, priority| {
            io_priority(&IoPriority {
                class: class.into(),
                priority,
            })
        };
        assert_eq!(plan("IOPRIO_CLASS_BE", 4).unwrap(), 2 << 13 | 4);
        assert!(plan("IOPRIO_CLASS_BE", 8).is_err());
        assert!(plan("IOPRIO_CLASS_NONE", 0).is_err());
    }

    #[test]
    fn a_memory_policy_names_nodes_by_bits() {
        let wanted = MemoryPolicy {
            mode: "MPOL_BIND".into(),
            nodes: "0,65".into(),
            flags: vec!["MPOL_F_STATIC_NODES".into()],
        };
        assert_eq!(policy(&wanted).unwrap(), (2 | 1 << 15, vec![1, 2]));
    }
}
