//! bpf(2), as far as cgroup device programs need it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Result;

use super::process::last_errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of ancestors are asked too, and each can deny.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// `struct bpf_insn`
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    /// Destination in the low four bits, source in the high.
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

#[repr(C)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a device program and attaches it to a cgroup, where it stays as long as the cgroup does.
pub fn attach_device_program(cgroup: impl AsFd, program: &[Instruction]) -> Result<()> {
    let mut load = LoadAttributes {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes describe `program` and a static string; the kernel copies and verifies both.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut load) }?;
    // SAFETY: a new descriptor (close-on-exec by the kernel's own doing), owned by nobody else.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut attach = AttachAttributes {
        target: cgroup.as_fd().as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: two valid descriptors and plain numbers.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attach) }.map(drop)
}

/// # Safety
/// `attributes` must be what `command` takes, and what it points to must be valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<i32> {
    // SAFETY: by the contract above; the size tells the kernel how much of its union is there, the rest being zero.
    match unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) } {
        -1 => Err(last_errno()),
        result => Ok(result as i32),
    }
}
