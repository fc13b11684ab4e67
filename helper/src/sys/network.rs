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
    set_option(socket, level, option, 1)
}

fn set_option(socket: impl AsFd, level: i32, option: i32, value: libc::c_int) -> Result<()> {
    // SAFETY: the kernel reads an int of the length given, which `value` is.
    match unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Makes a packet socket (packet(7)) one of this interface's alone, for frames of every protocol.
pub fn bind_packet(socket: impl AsFd, index: u32) -> Result<()> {
    // SAFETY: an all-zero sockaddr_ll is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the kernel reads a sockaddr_ll of the length given, which `address` is.
    match unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Bytes that may wait in a socket, whatever the limit for everybody is.
pub fn set_receive_buffer(socket: impl AsFd, bytes: i32) -> Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}
