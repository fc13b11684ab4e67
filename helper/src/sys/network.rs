//! Network interfaces of this process's network namespace.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Result;

use super::process::last_errno;

/// Brings "lo" up; the kernel gives it 127.0.0.1 and ::1 then. `socket` is any one of the network namespace.
pub fn loopback_up(socket: impl AsFd) -> Result<()> {
    // SAFETY: an all-zero ifreq is valid: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which this is.
    match unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Turns a yes-or-no option of a socket on.
pub fn enable_option(socket: impl AsFd, level: i32, option: i32) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an int of the length given, which `on` is.
    match unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
