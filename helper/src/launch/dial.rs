//! `net.connect`: a connection into the network of a container, for Node.
//!
//! A socket stays in the network namespace in which it was made, so only the making of it happens in the container's.
//! Nothing else of the container is entered, and its processes cannot see this one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::OwnedFd;

use rustix::thread::UnshareFlags;
use serde::Deserialize;

use crate::error::{Result, Step};
use crate::first_process::FirstProcess;
use crate::sys::namespace::join_process;

#[derive(Deserialize)]
pub struct Dial {
    /// Of the container in whose network namespace it is made.
    #[serde(flatten)]
    first: FirstProcess,
    port: u16,
    /// Absent: loopback, of IPv4 or else of IPv6.
    host: Option<IpAddr>,
}

/// In a process that is there for nothing else.
pub fn dial(args: &Dial) -> Result<OwnedFd> {
    let process = args.first.open()?;
    join_process(&process, UnshareFlags::NEWNET).step("join the container's network")?;
    let stream = connect(args)?;
    stream
        .set_nonblocking(true)
        .step("make the connection non-blocking")?;
    Ok(stream.into())
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
