//! Kernel keyrings.

use rustix::io::Result;

use super::process::last_errno;

/// Leaves the session keyring that was inherited for a new, empty one.
pub fn join_new_session_keyring() -> Result<()> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: no name, so no memory is read.
    match unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            anonymous,
        )
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
