//! A container's part in networks: made while it starts, and undone when it has ended.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, ipproto, socket_with};
use serde::Deserialize;

use super::{Firewall, FirewallCommand, LinkOperation, Links};
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

    /// Before anything is made: takes the ports, or says which one is taken.
    pub fn reserve(&self) -> Result<Vec<OwnedFd>> {
        self.ports.iter().map(Port::take).collect()
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

impl Port {
    /// Bound and not listening: nobody connects to it, and nobody else binds it.
    fn take(&self) -> Result<OwnedFd> {
        let step = format!("reserve the {} port {}", self.protocol, self.port);
        let (kind, protocol) = self.kind()?;
        let family = match self.address {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol).step(&step)?;
        if self.address.is_ipv6() {
            // IPv4 has a reservation of its own.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true).step(&step)?;
        }
        match bind(&socket, &SocketAddr::new(self.address, self.port)) {
            Ok(()) => Ok(socket),
            Err(Errno::ADDRINUSE) => Err(Failure::kind(step, "port-in-use")
                .detail(format!(
                    "{} {}",
                    self.protocol,
                    SocketAddr::new(self.address, self.port)
                ))
                .errno(Errno::ADDRINUSE)),
            Err(errno) => Err(errno).step(step),
        }
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
