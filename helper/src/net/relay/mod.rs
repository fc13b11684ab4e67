//! Published ports that the kernel cannot forward: those of `::1`, which has no way out of the host, and those of one
//! family of addresses where the container has the other alone. The socket that reserves the port takes what comes, and
//! a process that is there only while something does passes it on.

mod tcp;
mod udp;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::attendant::Service;
use crate::error::{Result, Step};
use crate::launch::report;
use crate::poller::Poller;
use crate::protocol::Report;
use crate::sys;
use tcp::Connections;
use udp::Flows;

/// With nothing to pass on for so long it ends.
const IDLE: Duration = Duration::from_secs(10);
/// How often it looks whether it is.
const LOOK: Duration = Duration::from_secs(1);
/// As many connections as a program usually lets wait.
const BACKLOG: i32 = 511;

/// What comes to a socket, and where it goes.
struct Route {
    socket: OwnedFd,
    to: SocketAddr,
}

#[derive(Default)]
pub struct Relay {
    tcp: Vec<Route>,
    udp: Vec<Route>,
}

impl Relay {
    /// A socket that is bound.
    pub fn add_tcp(&mut self, socket: OwnedFd, to: SocketAddr) -> Result<()> {
        never_block(&socket)?;
        rustix::net::listen(&socket, BACKLOG).step("listen on a published port")?;
        self.tcp.push(Route { socket, to });
        Ok(())
    }

    /// A socket that is bound.
    pub fn add_udp(&mut self, socket: OwnedFd, to: SocketAddr) -> Result<()> {
        never_block(&socket)?;
        let local = rustix::net::getsockname(&socket).step("look at a published port")?;
        let ipv6 = local.address_family() == rustix::net::AddressFamily::INET6;
        sys::datagram::ask_for_destination(&socket, ipv6).step("set a published port up")?;
        self.udp.push(Route { socket, to });
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.udp.is_empty()
    }

    /// Until nothing has come for a while, or the parent is gone.
    fn run(&self, parent: &OwnedFd) -> Result<()> {
        let _ = rustix::thread::set_name(c"keelson-relay");
        give_capabilities_up()?;
        let poller = Poller::new()?;
        poller.add(parent, Token::Parent)?;
        for (index, route) in (0..).zip(&self.tcp) {
            poller.add(&route.socket, Token::Tcp(index))?;
        }
        for (index, route) in (0..).zip(&self.udp) {
            poller.add(&route.socket, Token::Udp(index))?;
        }
        let connections = Connections::default();
        let mut flows = Flows::default();
        let mut busy = Instant::now();
        loop {
            for (token, _) in poller.wait(Some(LOOK))? {
                match token {
                    // It says nothing; so it is gone.
                    Token::Parent => return Ok(()),
                    Token::Tcp(index) => connections.accept(&self.tcp[index as usize]),
                    Token::Udp(index) => flows.receive(&self.udp, index, &poller),
                    Token::Flow(key) => flows.answer(&self.udp, key),
                }
                busy = Instant::now();
            }
            flows.forget_idle();
            if !connections.is_empty() || !flows.is_empty() {
                busy = Instant::now();
            }
            if busy.elapsed() >= IDLE {
                return Ok(());
            }
        }
    }
}

impl Service for Relay {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        let routes = self.tcp.iter().chain(&self.udp);
        routes.map(|route| route.socket.as_fd()).collect()
    }

    fn serve(&self, parent: &OwnedFd) -> Infallible {
        if let Err(failure) = self.run(parent) {
            report(parent, &Report::of(Err::<(), _>(failure)));
        }
        sys::process::exit(0)
    }
}

#[derive(Debug, Clone, Copy)]
enum Token {
    Parent,
    Tcp(u64),
    Udp(u64),
    Flow(u64),
}

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        match token {
            Token::Parent => 0,
            Token::Tcp(index) => (index << 2) | 1,
            Token::Udp(index) => (index << 2) | 2,
            Token::Flow(key) => (key << 2) | 3,
        }
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Token {
        match data & 3 {
            0 => Token::Parent,
            1 => Token::Tcp(data >> 2),
            2 => Token::Udp(data >> 2),
            _ => Token::Flow(data >> 2),
        }
    }
}

/// Whoever waits for it waits with others.
fn never_block(socket: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(socket, true).step("make a socket non-blocking")
}

/// What it passes on is from strangers.
fn give_capabilities_up() -> Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, sets).step("give the capabilities up")
}
