//! Connections, with two threads each: a direction ends without the other.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::SocketFlags;

use super::Route;

/// More at a time are refused.
const MAX: usize = 1024;
/// A thread only copies.
const STACK: usize = 128 << 10;
/// How long the container may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those that stand: each has a share of this.
#[derive(Default)]
pub struct Connections(Arc<()>);

impl Connections {
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub fn accept(&self, route: &Route) {
        let flags = SocketFlags::CLOEXEC;
        // One that went away meanwhile is an error here.
        let Ok(socket) = rustix::net::accept_with(&route.socket, flags) else {
            return;
        };
        let outside = TcpStream::from(socket);
        if self.count() >= MAX {
            return reset(&outside);
        }
        let (to, share) = (route.to, Arc::clone(&self.0));
        let passing = move || {
            connect(&outside, to);
            drop(share);
        };
        // Without a thread the connection closes.
        let _ = thread::Builder::new().stack_size(STACK).spawn(passing);
    }

    fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

fn connect(outside: &TcpStream, to: SocketAddr) {
    match TcpStream::connect_timeout(&to, PATIENCE) {
        Ok(inside) => relay(&inside, outside),
        // Nobody has answered; so it must not look as if somebody had.
        Err(_) => reset(outside),
    }
}

/// Has the other side told that it was cut off when this one is closed.
fn reset(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

fn relay(inside: &TcpStream, outside: &TcpStream) {
    // One that waits for more than it has would have a dialogue wait for it.
    let _ = inside.set_nodelay(true);
    let _ = outside.set_nodelay(true);
    thread::scope(|scope| {
        let back = || pass(inside, outside);
        let started = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, back);
        if started.is_err() {
            return reset(outside);
        }
        pass(outside, inside);
    });
}

/// Until one side has nothing more to say, or the other does not listen any more.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if to.write_all(&buffer[..length]).is_err() => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                reset(to);
                let _ = to.shutdown(Shutdown::Both);
                break;
            }
            _ => {}
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
