//! execve and its kin: they return only when they fail.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::process::last_errno;

/// Replaces the program of this process. The error is why it was not.
pub fn execve(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: valid C strings, and NULL-terminated arrays of valid C strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_errno()
}

/// The same with the program named by a descriptor.
pub fn execve_fd(program: BorrowedFd<'_>, arguments: &[CString], environment: &[CString]) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: as above; the empty path makes the descriptor itself the program.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}
