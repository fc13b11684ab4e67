//! Calls that are made only to learn whether the kernel has them.

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
