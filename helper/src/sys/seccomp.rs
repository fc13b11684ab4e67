//! seccomp(2).

use rustix::io::Result;

use super::process::last_errno;

/// Puts this process, and all it will become, under a filter.
pub fn load_filter(program: &[libc::sock_filter], flags: u32) -> Result<()> {
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
        _ => Ok(()),
    }
}
