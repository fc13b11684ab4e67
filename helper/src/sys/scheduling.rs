//! Calls about how a process is run that rustix has not.

use rustix::io::Result;

use super::process::last_errno;

/// `struct sched_attr` of linux/sched/types.h, in its first form.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerAttributes {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// sched_setattr(2) for this process.
pub fn set_scheduler(attributes: &SchedulerAttributes) -> Result<()> {
    let attributes = SchedulerAttributes {
        size: size_of::<SchedulerAttributes>() as u32,
        ..*attributes
    };
    // SAFETY: the kernel reads as many bytes as `size` says, which is that of the struct.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    done(result)
}

/// ioprio_set(2) for this process's group.
pub fn set_io_priority(value: i32) -> Result<()> {
    const IOPRIO_WHO_PGRP: i32 = 2;
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, value) })
}

/// personality(2).
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: a number only; it changes what later calls mean, and none that this program makes.
    done(unsafe { libc::syscall(libc::SYS_personality, persona) })
}

/// set_mempolicy(2) for this process; `nodes` is a mask of as many bits as it has.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> Result<()> {
    let mask = match nodes {
        [] => std::ptr::null(),
        nodes => nodes.as_ptr(),
    };
    // The kernel counts one more than there is.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: `mask` is null, or has the bits that are counted.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })
}

fn done(result: libc::c_long) -> Result<()> {
    match result {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
