//! `net.connect`: a connection into the network of a container, relayed to a unix socket.
//!
//! A socket stays in the network namespace in which it was made, so only the making of it happens in the container's.
//! Nothing else of the container is entered, and its processes cannot see this one.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::UnshareFlags;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Failure, Result, Step};
use crate::sys::namespace::join_process;

#[derive(Deserialize)]
pub struct Dial {
    /// A process in that network namespace.
    pid: i32,
    port: u16,
    /// Absent: loopback, of IPv4 or else of IPv6.
    host: Option<IpAddr>,
    /// Where the other side listens; it is connected to once the connection in the container stands.
    socket: PathBuf,
}

/// Returns when both directions have ended.
pub fn dial(args: &Dial) -> Result<Value> {
    join_network(args.pid)?;
    let inside = connect(args)?;
    let outside =
        UnixStream::connect(&args.socket).step_at("connect to the caller", &args.socket)?;
    relay(&inside, &outside);
    Ok(json!({}))
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

fn relay(inside: &TcpStream, outside: &UnixStream) {
    // One that waits for more than it has would have a dialogue wait for it.
    let _ = inside.set_nodelay(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            pass(inside, outside);
            let _ = outside.shutdown(Shutdown::Write);
        });
        pass(outside, inside);
        let _ = inside.shutdown(Shutdown::Write);
    });
}

/// Until one side has nothing more to say, or the other does not listen any more.
fn pass(mut from: impl Read, mut to: impl Write) {
    let _ = io::copy(&mut from, &mut to);
}
