//! Datagrams on a socket of all addresses: to which of them one was sent, and answers from there (ip(7), ipv6(7)).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Result;

use super::network::enable_option;
use super::process::last_errno;

/// The address of this host's that a datagram was sent to.
#[derive(Clone, Copy)]
pub enum Local {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

pub struct Received {
    pub length: usize,
    pub from: SocketAddr,
    pub to: Option<Local>,
}

/// Room for the one control message there is, aligned as a header of such must be.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Has the kernel tell for each datagram what it was sent to.
pub fn ask_for_destination(socket: impl AsFd, ipv6: bool) -> Result<()> {
    match ipv6 {
        true => enable_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => enable_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO),
    }
}

pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received> {
    let mut control = Control([0; 64]);
    // SAFETY: all-zero is a value of both: no address, and a message without anything.
    let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the message names places that outlive the call, with their lengths.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
    if length < 0 {
        return Err(last_errno());
    }
    Ok(Received {
        length: length as usize,
        from: address(&name).ok_or(rustix::io::Errno::AFNOSUPPORT)?,
        to: local(&message),
    })
}

pub fn send(socket: impl AsFd, bytes: &[u8], to: SocketAddr, from: Option<Local>) -> Result<()> {
    let mut control = Control([0; 64]);
    // SAFETY: all-zero is a value of both.
    let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let namelen = put_address(&mut name, to);
    let mut slice = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = namelen;
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    if let Some(from) = from {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = put_local(&mut control, from) as _;
    }
    // SAFETY: the message names places that outlive the call, with their lengths; nothing is written to `bytes`.
    match unsafe {
        libc::sendmsg(
            socket.as_fd().as_raw_fd(),
            &raw const message,
            libc::MSG_NOSIGNAL,
        )
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

fn local(message: &libc::msghdr) -> Option<Local> {
    // SAFETY: the kernel has filled `msg_control` and set its length; the macros stay within it.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    // SAFETY: data of this type follows that header, aligned or not.
    match (header.cmsg_level, header.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => Some(Local::V4(unsafe {
            libc::CMSG_DATA(header)
                .cast::<libc::in_pktinfo>()
                .read_unaligned()
        })),
        // SAFETY: the same.
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => Some(Local::V6(unsafe {
            libc::CMSG_DATA(header)
                .cast::<libc::in6_pktinfo>()
                .read_unaligned()
        })),
        _ => None,
    }
}

/// As the source of what is sent. Returns the length of the control message.
fn put_local(control: &mut Control, from: Local) -> usize {
    fn put<T>(control: &mut Control, level: i32, kind: i32, data: T) -> usize {
        let size = size_of::<T>() as u32;
        let header = libc::cmsghdr {
            // SAFETY: plain arithmetic.
            cmsg_len: unsafe { libc::CMSG_LEN(size) } as _,
            cmsg_level: level,
            cmsg_type: kind,
        };
        let start = control.0.as_mut_ptr();
        // SAFETY: 64 bytes, aligned, hold a header and either of the two structures behind it.
        unsafe {
            start.cast::<libc::cmsghdr>().write(header);
            libc::CMSG_DATA(start.cast::<libc::cmsghdr>())
                .cast::<T>()
                .write_unaligned(data);
            libc::CMSG_SPACE(size) as usize
        }
    }
    match from {
        Local::V4(mut info) => {
            info.ipi_spec_dst = info.ipi_addr;
            info.ipi_ifindex = 0;
            put(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        Local::V6(mut info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Only such an address needs its link.
            if !address.is_unicast_link_local() {
                info.ipi6_ifindex = 0;
            }
            put(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let place = &raw const *name;
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one, and a storage is large enough and aligned for each.
            let name = unsafe { &*place.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the same.
            let name = unsafe { &*place.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn put_address(name: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    let place = &raw mut *name;
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: a storage is large enough and aligned for each kind of address, and all-zero is one.
            let name = unsafe { &mut *place.cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            // SAFETY: the same.
            let name = unsafe { &mut *place.cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}
