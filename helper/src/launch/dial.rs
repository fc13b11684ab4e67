//! `net.connect`: a connection into the network of a container, for Node.
//!
//! A socket stays in the network namespace in which it was made, so only the making of it happens in the container's.
//! Nothing else of the container is entered, and its processes cannot see this one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::UnshareFlags;
use serde::Deserialize;

use crate::error::{Failure, Result, Step};
use crate::sys::namespace::join_process;

#[derive(Deserialize)]
pub struct Dial {
    /// A process in that network namespace.
    pid: i32,
    port: u16,
    /// Absent: loopback, of IPv4 or else of IPv6.
    host: Option<IpAddr>,
}

/// In a process that is there for nothing else.
pub fn dial(args: &Dial) -> Result<OwnedFd> {
    join_network(args.pid)?;
    let stream = connect(args)?;
    stream
        .set_nonblocking(true)
        .step("make the connection non-blocking")?;
    Ok(stream.into())
}

fn join_network(pid: i32) -> Result<()> {
    const STEP: &str = "join the container's network";
    let pid = Pid::from_raw(pid)
        .ok_or_else(|| Failure::kind(STEP, "protocol").detail("not a process"))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).step(STEP)?;
    join_process(&process, UnshareFlags::NEWNET).step(STEP)
}

fn connect(args: &Dial) -> Result<TcpStream> {
    const STEP: &str = "connect to the port";
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let hosts = args.host.map_or(loopback.to_vec(), |host| vec![host]);
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for (tried, host) in hosts.into_iter().enumerate() {
        match TcpStream::connect((host, args.port)) {
            Ok(stream) => return Ok(stream),
            // What the usual address says is what counts: a container need not have IPv6.
            Err(error) if tried == 0 => outcome = Err(error),
            Err(_) => {}
        }
    }
    outcome.step(STEP)
}
