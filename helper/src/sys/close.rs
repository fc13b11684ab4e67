//! Closing descriptors wholesale, so that none of the launcher's reaches where it should not.

use std::os::fd::RawFd;

use rustix::io::Result;

use super::process::last_errno;

/// Closes every descriptor above stderr except those in `keep`.
pub fn close_all_but(keep: &[RawFd]) -> Result<()> {
    let mut keep: Vec<u32> = keep
        .iter()
        .map(|&fd| fd as u32)
        .filter(|&fd| fd > 2)
        .collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn close_all_on_exec(first: u32) -> Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: plain integers. Callers are about to exec or are freshly forked workers that use only what they keep;
    // an OwnedFd of the parent closed here is never dropped, because such processes end by _exit or exec.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
