//! A member of a network that is no container: a network namespace without processes, which sockets are made in.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen as start_listening, socket_with, sockopt,
};
use rustix::thread::LinkNameSpaceType;
use serde::Deserialize;

use super::{LinkOperation, Links};
use crate::error::{Failure, Result, Step};
use crate::run::make_network;
use crate::sys::namespace::join;

/// As many as Node's servers let wait.
const BACKLOG: i32 = 511;

/// Its links, as those of a container.
#[derive(Deserialize)]
pub struct Membership {
    host: Vec<LinkOperation>,
    inside: Vec<LinkOperation>,
}

/// Makes one, in a process that is there for nothing else. It lasts as long as somebody holds it, or a socket in it.
pub fn join_network(membership: &Membership) -> Result<OwnedFd> {
    // Of the namespace that it is made in, which this process leaves.
    let mut links = Links::open()?;
    let namespace = make_network()?;
    links.carry_out(&membership.host, Some(std::process::id()))?;
    Links::open()?.carry_out(&membership.inside, None)?;
    Ok(namespace)
}

/// A TCP socket that listens in that namespace; on `::` for IPv4 as well.
pub fn listen(namespace: &OwnedFd, address: SocketAddr) -> Result<OwnedFd> {
    let step = format!("listen on {address}");
    join(namespace, Some(LinkNameSpaceType::Network)).step(&step)?;
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).step(&step)?;
    // What is left of earlier connections is in nobody's way.
    sockopt::set_socket_reuseaddr(&socket, true).step(&step)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false).step(&step)?;
    }
    match bind(&socket, &address).and_then(|()| start_listening(&socket, BACKLOG)) {
        Ok(()) => Ok(socket),
        Err(Errno::ADDRINUSE) => Err(Failure::kind(step, "port-in-use").errno(Errno::ADDRINUSE)),
        Err(errno) => Err(errno).step(step),
    }
}
