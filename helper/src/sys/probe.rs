//! Calls that are made only to learn whether the kernel has them.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

use super::process::last_errno;

/// Whether filters may return `action` (`SECCOMP_RET_*`).
pub fn seccomp_action_available(action: u32) -> Result<()> {
    // SAFETY: the kernel reads one u32 from a valid pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    match result {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// mount_setattr(2) with the ids of a user namespace on the detached mount `mount`.
pub fn map_ids(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    // SAFETY: `attr` is a mount_attr of the size given, and the path is a C string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    match result {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
