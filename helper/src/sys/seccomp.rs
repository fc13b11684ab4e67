//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Result;

use super::process::last_errno;

/// Puts this process, and all it will become, under a filter.
pub fn load_filter(program: &[libc::sock_filter], flags: u32) -> Result<()> {
    set_mode_filter(program, u64::from(flags)).map(drop)
}

/// The same for this thread, with the descriptor over which somebody else answers its notifications.
pub fn load_filter_and_listen(program: &[libc::sock_filter], flags: u32) -> Result<OwnedFd> {
    let flags = u64::from(flags) | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let listener = set_mode_filter(program, flags)?;
    // SAFETY: with this flag the kernel returns a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as RawFd) })
}

fn set_mode_filter(program: &[libc::sock_filter], flags: u64) -> Result<libc::c_long> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` describes `program`, at most 4096 instructions, which the kernel copies and verifies.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    };
    match result {
        -1 => Err(last_errno()),
        result => Ok(result),
    }
}
