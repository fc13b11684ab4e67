//! A container's part in networks: made while it starts, and undone when it has ended.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, ipproto, socket_with};
use serde::Deserialize;

use super::{Firewall, FirewallCommand, LinkOperation, Links, Relay};
use crate::error::{Failure, Result, Step};
use crate::names::NameService;

/// `NetworkPlan` of `src/runtime/network-protocol.ts`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct NetworkPlan {
    /// On the host's side, once the child's namespace is there.
    host: Vec<LinkOperation>,
    /// By the child.
    inside: Vec<LinkOperation>,
    firewall: Rules,
    ports: Vec<Port>,
    pub names: Option<NameService>,
    pub remove: Vec<PathBuf>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Rules {
    start: Vec<FirewallCommand>,
    end: Vec<FirewallCommand>,
    /// In the container's own namespace.
    inside: Vec<FirewallCommand>,
}

#[derive(Debug, Clone, Deserialize)]
struct Port {
    protocol: String,
    address: IpAddr,
    port: u16,
    /// What comes to the socket is passed on to there.
    relay: Option<Target>,
    /// A host that has no such addresses does without.
    #[serde(default)]
    optional: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Target {
    address: IpAddr,
    port: u16,
}

impl NetworkPlan {
    /// Whether the launcher has links to make for it.
    pub fn is_empty(&self) -> bool {
        self.host.is_empty()
    }

    /// What takes its rules away.
    pub fn end(&self) -> &[FirewallCommand] {
        &self.firewall.end
    }

    /// Before anything is made: takes the ports, or says which one is taken. Nothing in the place of what this host has not.
    pub fn reserve(&self) -> Result<Vec<Option<OwnedFd>>> {
        let take = |port: &Port| match port.take() {
            Err(failure) if port.optional && is_missing(&failure) => Ok(None),
            taken => taken.map(Some),
        };
        self.ports.iter().map(take).collect()
    }

    /// What is passed on from sockets that were reserved for this plan, or for one with the same ports.
    pub fn relay(&self, reserved: &[Option<OwnedFd>]) -> Result<Option<Relay>> {
        let mut relay = Relay::default();
        for (port, socket) in self.ports.iter().zip(reserved) {
            let (Some(to), Some(socket)) = (&port.relay, socket) else {
                continue;
            };
            let to = SocketAddr::new(to.address, to.port);
            let socket = socket.try_clone().step("keep a published port")?;
            match port.protocol.as_str() {
                "tcp" => relay.add_tcp(socket, to)?,
                _ => relay.add_udp(socket, to)?,
            }
        }
        Ok((!relay.is_empty()).then_some(relay))
    }

    /// In the launcher: its links, one end in the namespace of `child`, and its rules; `undo` tells how to take these away.
    pub fn attach(&self, child: u32, undo: &mut Vec<FirewallCommand>) -> Result<()> {
        if !self.host.is_empty() {
            Links::open()?.carry_out(&self.host, Some(child))?;
        }
        self.publish(undo)
    }

    /// Its rules alone.
    pub fn publish(&self, undo: &mut Vec<FirewallCommand>) -> Result<()> {
        if self.firewall.start.is_empty() {
            return Ok(());
        }
        undo.clone_from(&self.firewall.end);
        Firewall::open()?.carry_out(&self.firewall.start)
    }

    /// In the child.
    pub fn settle(&self) -> Result<()> {
        self.settle_links()?;
        match self.firewall.inside.is_empty() {
            true => Ok(()),
            false => Firewall::open()?.carry_out(&self.firewall.inside),
        }
    }

    /// In a child that has its name service already, and has been told its networks only now: its links, both ends.
    ///
    /// `outside`: those of the host, which it has left.
    pub fn join(&self, mut outside: Links) -> Result<()> {
        if !self.host.is_empty() {
            outside.carry_out(&self.host, Some(std::process::id()))?;
        }
        self.settle_links()
    }

    fn settle_links(&self) -> Result<()> {
        match self.inside.is_empty() {
            true => Ok(()),
            false => Links::open()?.carry_out(&self.inside, None),
        }
    }
}

/// Takes a container's rules away. Its links go with its namespace.
pub fn detach(rules: &[FirewallCommand]) -> Result<()> {
    match rules.is_empty() {
        true => Ok(()),
        false => Firewall::open()?.carry_out(rules),
    }
}

/// Whether a family of addresses, or that address, is not there.
fn is_missing(failure: &Failure) -> bool {
    matches!(
        failure.errno,
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

impl Port {
    /// Bound and not listening: nobody connects to it, and nobody else binds it.
    fn take(&self) -> Result<OwnedFd> {
        let (kind, protocol) = self.kind()?;
        let family = match self.address {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
            .map_err(|errno| self.refused(errno))?;
        if self.address.is_ipv6() {
            // IPv4 has a reservation of its own.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true).step(self.step())?;
        }
        if self.relay.is_some() {
            // What is left of connections that were passed on is in nobody's way: this socket listens at once.
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true).step(self.step())?;
        }
        match bind(&socket, &SocketAddr::new(self.address, self.port)) {
            Ok(()) => Ok(socket),
            Err(errno) => Err(self.refused(errno)),
        }
    }

    fn step(&self) -> String {
        format!("reserve the {} port {}", self.protocol, self.port)
    }

    fn refused(&self, errno: Errno) -> Failure {
        let kind = match errno {
            Errno::ADDRINUSE => "port-in-use",
            Errno::ADDRNOTAVAIL => "address-missing",
            Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT | Errno::AFNOSUPPORT => {
                "port-unsupported"
            }
            _ => return Failure::new(self.step()).errno(errno),
        };
        let address = SocketAddr::new(self.address, self.port);
        Failure::kind(self.step(), kind)
            .detail(format!("{} {address}", self.protocol))
            .errno(errno)
    }

    fn kind(&self) -> Result<(SocketType, Option<Protocol>)> {
        match self.protocol.as_str() {
            "tcp" => Ok((SocketType::STREAM, None)),
            "udp" => Ok((SocketType::DGRAM, None)),
            "sctp" => Ok((SocketType::STREAM, Some(ipproto::SCTP))),
            other => Err(Failure::kind("read a port", "config-invalid").detail(other)),
        }
    }
}
