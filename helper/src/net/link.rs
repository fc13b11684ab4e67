//! Links, addresses and routes (linux/rtnetlink.h, linux/if_link.h).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice};
use serde::Deserialize;

use super::netlink::{ACK, CREATE, EXCLUSIVE, Message, REPLACE, Socket, attributes, find, text_of};
use crate::error::{Failure, Result, Step};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_GSO_MAX_SEGS: u16 = 40;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_MULTICAST_FLOOD: u16 = 27;
const IFLA_BRPORT_BROADCAST_FLOOD: u16 = 30;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFF_UP: u32 = 1;

/// `LinkOperation` of `src/runtime/network-protocol.ts`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum LinkOperation {
    Add(Add),
    Set(Set),
    Address {
        name: String,
        address: IpAddr,
        prefix: u8,
    },
    Route {
        name: String,
        to: Option<String>,
        via: Option<IpAddr>,
        metric: Option<u32>,
        /// In the place of one to the same destination.
        #[serde(default)]
        replace: bool,
    },
    /// Into the network namespace of the peer, or the one at this path. It is down there, and without addresses.
    Move {
        name: String,
        rename: String,
        namespace: Option<PathBuf>,
    },
    /// Frames to this hardware address leave the bridge by this port.
    Fdb {
        name: String,
        mac: String,
    },
    Delete {
        name: String,
    },
    Sysctl {
        path: String,
        value: String,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    name: String,
    kind: String,
    mtu: Option<u32>,
    mac: Option<String>,
    peer: Option<String>,
    peer_mac: Option<String>,
    /// 1: whatever goes by it is cut into packets of the wire's size first.
    gso_max_segs: Option<u32>,
    parent: Option<String>,
    mode: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Set {
    name: String,
    #[serde(default)]
    up: bool,
    master: Option<String>,
    rename: Option<String>,
    isolated: Option<bool>,
    hairpin: Option<bool>,
    /// Remembers who is behind it.
    learning: Option<bool>,
    /// Gets what is for everybody, and for those that nobody knows.
    flood: Option<bool>,
}

impl Set {
    /// What it is to be as a bridge's port: attributes, and whether on.
    fn port(&self) -> Vec<(u16, bool)> {
        [
            (IFLA_BRPORT_ISOLATED, self.isolated),
            (IFLA_BRPORT_MODE, self.hairpin),
            (IFLA_BRPORT_LEARNING, self.learning),
            (IFLA_BRPORT_UNICAST_FLOOD, self.flood),
            (IFLA_BRPORT_MULTICAST_FLOOD, self.flood),
            (IFLA_BRPORT_BROADCAST_FLOOD, self.flood),
        ]
        .into_iter()
        .filter_map(|(attribute, on)| Some((attribute, on?)))
        .collect()
    }
}

/// The links of the network namespace that it was made in.
pub struct Links {
    socket: Socket,
    /// Any socket will do to ask for the number of a name.
    names: OwnedFd,
    /// Not sent yet: the kernel takes many at a time.
    waiting: Vec<Message>,
    /// These may change which link has a name.
    renaming: bool,
}

impl Links {
    pub fn open() -> Result<Self> {
        Ok(Links {
            socket: Socket::open(None)?,
            names: rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::DGRAM,
                SocketFlags::CLOEXEC,
                None,
            )
            .step("make a socket")?,
            waiting: Vec::new(),
            renaming: false,
        })
    }

    /// In order, as many at a time as there can be; the first failure is told, and ends it: of those that were sent with it, others may
    /// be done. `peer`: the process whose network namespace the other ends belong to.
    pub fn carry_out(&mut self, operations: &[LinkOperation], peer: Option<u32>) -> Result<()> {
        let all = self.order_all(operations, peer);
        let sent = self.settle();
        sent.and(all)
    }

    fn order_all(&mut self, operations: &[LinkOperation], peer: Option<u32>) -> Result<()> {
        for operation in operations {
            match operation {
                LinkOperation::Add(add) => self.add(add, peer)?,
                LinkOperation::Set(set) => self.set(set)?,
                LinkOperation::Address {
                    name,
                    address,
                    prefix,
                } => self.address(name, *address, *prefix)?,
                LinkOperation::Route {
                    name,
                    to,
                    via,
                    metric,
                    replace,
                } => self.route(name, to.as_deref(), *via, *metric, *replace)?,
                LinkOperation::Move {
                    name,
                    rename,
                    namespace,
                } => self.move_away(name, rename, namespace.as_deref(), peer)?,
                LinkOperation::Fdb { name, mac } => self.fdb(name, mac)?,
                LinkOperation::Delete { name } => self.order_renaming(deletion(name)),
                LinkOperation::Sysctl { path, value } => {
                    self.settle()?;
                    set_sysctl(path, value)?;
                }
            }
        }
        Ok(())
    }

    fn order(&mut self, message: Message) {
        self.waiting.push(message);
    }

    fn order_renaming(&mut self, message: Message) {
        self.renaming = true;
        self.order(message);
    }

    /// Has done what was ordered.
    fn settle(&mut self) -> Result<()> {
        self.renaming = false;
        match std::mem::take(&mut self.waiting) {
            none if none.is_empty() => Ok(()),
            all => self.socket.batch(all),
        }
    }

    fn add(&mut self, add: &Add, peer: Option<u32>) -> Result<()> {
        let message = Message::new(
            NEWLINK,
            ACK | CREATE | EXCLUSIVE,
            format!("make {} {}", add.kind, add.name),
        )
        .header(&interface(0, 0, 0))
        .put_str(IFLA_IFNAME, &add.name);
        let message = put_mtu(put_mac(message, add.mac.as_deref())?, add.mtu);
        let message = match add.gso_max_segs {
            Some(most) => message.put_u32(IFLA_GSO_MAX_SEGS, most),
            None => message,
        };
        let message = match add.kind.as_str() {
            "bridge" => kind(message, "bridge", |data| data),
            "veth" => {
                let name = add.peer.as_deref().unwrap_or_default();
                let mac = add.peer_mac.as_deref();
                // Checked here, because the closures below cannot fail.
                parse_mac(mac)?;
                kind(message, "veth", |data| {
                    data.nest(VETH_INFO_PEER, |other| {
                        let other = other.header(&interface(0, 0, 0)).put_str(IFLA_IFNAME, name);
                        let other = match parse_mac(mac) {
                            Ok(Some(mac)) => other.put(IFLA_ADDRESS, &mac),
                            _ => other,
                        };
                        in_namespace(put_mtu(other, add.mtu), peer)
                    })
                })
            }
            "macvlan" => {
                let parent = self.index(add.parent.as_deref().unwrap_or_default())?;
                let mode = macvlan_mode(add.mode.as_deref())?;
                let message = in_namespace(message.put_u32(IFLA_LINK, parent), peer);
                kind(message, "macvlan", |data| {
                    data.put_u32(IFLA_MACVLAN_MODE, mode)
                })
            }
            other => {
                return Err(Failure::kind("make a link", "config-invalid").detail(other));
            }
        };
        // Another process may be quicker.
        self.order_renaming(match add.kind.as_str() {
            "bridge" => message.unless(Errno::EXIST),
            _ => message,
        });
        Ok(())
    }

    fn set(&mut self, set: &Set) -> Result<()> {
        self.set_port(set)?;
        let step = format!("set up {}", set.name);
        let flags = if set.up { IFF_UP } else { 0 };
        match &set.rename {
            Some(name) => {
                let header = interface(self.index(&set.name)?, flags, flags);
                let message = Message::new(NEWLINK, ACK, step).header(&header);
                self.order_renaming(message.put_str(IFLA_IFNAME, name));
            }
            None if set.up => {
                let message = Message::new(NEWLINK, ACK, step).header(&interface(0, flags, flags));
                self.order(message.put_str(IFLA_IFNAME, &set.name));
            }
            None => {}
        }
        Ok(())
    }

    /// A link as a bridge's port.
    fn set_port(&mut self, set: &Set) -> Result<()> {
        let message = |step: String| {
            Message::new(NEWLINK, ACK, step)
                .header(&interface(0, 0, 0))
                .put_str(IFLA_IFNAME, &set.name)
        };
        if let Some(master) = &set.master {
            let master = match self.present_index(master) {
                // It may be one of those that are to be made.
                Err(_) => self.index(master)?,
                Ok(index) => index,
            };
            let message = message(format!("put {} into its bridge", set.name));
            self.order(message.put_u32(IFLA_MASTER, master));
        }
        let settings = set.port();
        if !settings.is_empty() {
            let message = message(format!("set the port {}", set.name));
            self.order(message.nest(IFLA_LINKINFO, |info| {
                info.put_str(IFLA_INFO_SLAVE_KIND, "bridge")
                    .nest(IFLA_INFO_SLAVE_DATA, |port| {
                        settings.iter().fold(port, |port, (attribute, on)| {
                            port.put(*attribute, &[u8::from(*on)])
                        })
                    })
            }));
        }
        Ok(())
    }

    fn address(&mut self, name: &str, address: IpAddr, prefix: u8) -> Result<()> {
        const IFA_ADDRESS: u16 = 1;
        const IFA_LOCAL: u16 = 2;
        const IFA_BROADCAST: u16 = 4;
        /// No other has it: it was claimed. Waiting for duplicates would take a second.
        const IFA_F_NODAD: u8 = 2;
        let index = self.index(name)?;
        let (family, bytes) = bytes_of(address);
        let mut header = vec![family, prefix, IFA_F_NODAD, 0];
        header.extend_from_slice(&index.to_ne_bytes());
        let step = format!("give {name} the address {address}");
        // A crash may have left the link with it.
        let mut message = Message::new(NEWADDR, ACK | CREATE | REPLACE, step)
            .header(&header)
            .put(IFA_LOCAL, &bytes)
            .put(IFA_ADDRESS, &bytes);
        if let (IpAddr::V4(address), 1..31) = (address, prefix) {
            let broadcast = u32::from(address) | (u32::MAX >> prefix);
            message = message.put(IFA_BROADCAST, &broadcast.to_be_bytes());
        }
        self.order(message);
        Ok(())
    }

    fn route(
        &mut self,
        name: &str,
        to: Option<&str>,
        via: Option<IpAddr>,
        metric: Option<u32>,
        replace: bool,
    ) -> Result<()> {
        const RTA_DST: u16 = 1;
        const RTA_OIF: u16 = 4;
        const RTA_GATEWAY: u16 = 5;
        const RTA_PRIORITY: u16 = 6;
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_STATIC: u8 = 4;
        const SCOPE_LINK: u8 = 253;
        const TYPE_UNICAST: u8 = 1;
        let step = format!("route {} by {name}", to.unwrap_or("the rest"));
        let destination = to.map(|to| parse_prefix(to, &step)).transpose()?;
        let (family, length) = match (destination, via) {
            (Some((address, length)), _) => (bytes_of(address).0, length),
            (None, Some(via)) => (bytes_of(via).0, 0),
            (None, None) => (libc::AF_INET as u8, 0),
        };
        let scope = if via.is_none() && family == libc::AF_INET as u8 {
            SCOPE_LINK
        } else {
            0
        };
        let header = [
            family,
            length,
            0,
            0,
            TABLE_MAIN,
            PROTOCOL_STATIC,
            scope,
            TYPE_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let index = self.index(name)?;
        let flags = ACK | CREATE | if replace { REPLACE } else { 0 };
        let mut message = Message::new(NEWROUTE, flags, step)
            .header(&header)
            .put_u32(RTA_OIF, index);
        if let Some((address, _)) = destination {
            message = message.put(RTA_DST, &bytes_of(address).1);
        }
        if let Some(via) = via {
            message = message.put(RTA_GATEWAY, &bytes_of(via).1);
        }
        if let Some(metric) = metric {
            message = message.put_u32(RTA_PRIORITY, metric);
        }
        self.order(message);
        Ok(())
    }

    fn move_away(
        &mut self,
        name: &str,
        rename: &str,
        namespace: Option<&Path>,
        peer: Option<u32>,
    ) -> Result<()> {
        let index = self.index(name)?;
        let step = format!("move {name} into the network namespace as {rename}");
        let opened = namespace.map(|path| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).step_at("open a namespace", path)
        });
        let opened = opened.transpose()?;
        let message = Message::new(NEWLINK, ACK, step)
            .header(&interface(index, 0, 0))
            .put_str(IFLA_IFNAME, rename);
        self.order_renaming(match &opened {
            Some(namespace) => message.put_u32(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32),
            None => in_namespace(message, peer),
        });
        // While the namespace is open.
        self.settle()
    }

    fn fdb(&mut self, name: &str, mac: &str) -> Result<()> {
        const NEWNEIGH: u16 = 28;
        const NDA_LLADDR: u16 = 2;
        /// NUD_REACHABLE, NUD_NOARP.
        const STATE_STATIC: u16 = 0x02 | 0x40;
        const FLAG_MASTER: u8 = 4;
        let index = self.index(name)?;
        // struct ndmsg
        let mut header = vec![libc::AF_BRIDGE as u8, 0, 0, 0];
        header.extend_from_slice(&index.to_ne_bytes());
        header.extend_from_slice(&STATE_STATIC.to_ne_bytes());
        header.extend_from_slice(&[FLAG_MASTER, 0]);
        let step = format!("lead {mac} to {name}");
        let message = Message::new(NEWNEIGH, ACK | CREATE | REPLACE, step).header(&header);
        let mac = parse_mac(Some(mac))?.unwrap_or_default();
        self.order(message.put(NDA_LLADDR, &mac));
        Ok(())
    }

    pub fn delete(&mut self, name: &str) -> Result<()> {
        self.socket.batch(vec![deletion(name)])
    }

    /// When what was ordered is done.
    fn index(&mut self, name: &str) -> Result<u32> {
        if self.renaming {
            self.settle()?;
        }
        self.present_index(name)
    }

    fn present_index(&self, name: &str) -> Result<u32> {
        netdevice::name_to_index(&self.names, name)
            .map_err(|errno: Errno| Failure::new(format!("find the link {name}")).errno(errno))
    }

    /// Name, kind, number and flags of every link.
    pub fn list(&mut self) -> Result<Vec<Link>> {
        const GETLINK: u16 = 18;
        let message = Message::new(GETLINK, super::netlink::DUMP, "list the links")
            .header(&interface(0, 0, 0));
        let mut found = Vec::new();
        self.socket.dump(message, |_, payload| {
            found.extend(Link::read(payload));
        })?;
        Ok(found)
    }

    /// Those addresses of a link that were given to it for good, and mean something beyond it.
    pub fn addresses(&mut self, name: &str) -> Result<Vec<(IpAddr, u8)>> {
        const GETADDR: u16 = 22;
        const IFA_ADDRESS: u16 = 1;
        const IFA_LOCAL: u16 = 2;
        const IFA_F_PERMANENT: u8 = 0x80;
        const SCOPE_UNIVERSE: u8 = 0;
        let index = self.index(name)?.to_ne_bytes();
        let message =
            Message::new(GETADDR, super::netlink::DUMP, "list the addresses").header(&[0; 8]);
        let mut found = Vec::new();
        self.socket.dump(message, |_, payload| {
            let (Some(&[_, prefix, flags, scope]), Some(link), Some(rest)) =
                (payload.first_chunk(), payload.get(4..8), payload.get(8..))
            else {
                return;
            };
            if link != index || scope != SCOPE_UNIVERSE || flags & IFA_F_PERMANENT == 0 {
                return;
            }
            let address = find(rest, IFA_LOCAL).or_else(|| find(rest, IFA_ADDRESS));
            found.extend(
                address
                    .and_then(address_of)
                    .map(|address| (address, prefix)),
            );
        })?;
        Ok(found)
    }

    /// Destinations of all routes, the host's own addresses among them, once each; none of those that every link has, or that are within
    /// others for a use of their own.
    pub fn prefixes(&mut self, family: AddressFamily) -> Result<BTreeSet<String>> {
        const GETROUTE: u16 = 26;
        const RTA_DST: u16 = 1;
        const TYPE_BROADCAST: u8 = 3;
        const TYPE_ANYCAST: u8 = 4;
        const TYPE_MULTICAST: u8 = 5;
        let mut header = [0; 12];
        header[0] = family.as_raw() as u8;
        let message =
            Message::new(GETROUTE, super::netlink::DUMP, "list the routes").header(&header);
        let mut found = BTreeSet::new();
        self.socket.dump(message, |_, payload| {
            let (Some(&length), Some(kind), Some(rest)) =
                (payload.get(1), payload.get(7), payload.get(12..))
            else {
                return;
            };
            if [TYPE_BROADCAST, TYPE_ANYCAST, TYPE_MULTICAST].contains(kind) {
                return;
            }
            let address = find(rest, RTA_DST).and_then(address_of);
            let of_a_link = |address: &IpAddr| match address {
                IpAddr::V6(address) => address.is_unicast_link_local(),
                IpAddr::V4(_) => false,
            };
            let address = address.filter(|address| !of_a_link(address));
            found.extend(address.map(|address| format!("{address}/{length}")));
        })?;
        Ok(found)
    }
}

/// A link as the kernel lists it.
#[derive(Debug, serde::Serialize)]
pub struct Link {
    pub name: String,
    pub kind: String,
    pub index: u32,
    pub up: bool,
}

impl Link {
    fn read(payload: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = payload.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(bytes))
        };
        let rest = payload.get(16..)?;
        let kind = attributes(rest)
            .find(|(attribute, _)| *attribute == IFLA_LINKINFO)
            .and_then(|(_, info)| find(info, IFLA_INFO_KIND))
            .map(text_of);
        Some(Link {
            name: find(rest, IFLA_IFNAME).map(text_of)?,
            kind: kind.unwrap_or_default(),
            index: number(4)?,
            up: number(8)? & IFF_UP != 0,
        })
    }
}

/// One that is not there is no failure.
fn deletion(name: &str) -> Message {
    Message::new(DELLINK, ACK, format!("remove {name}"))
        .header(&interface(0, 0, 0))
        .put_str(IFLA_IFNAME, name)
        .unless(Errno::NODEV)
}

/// struct ifinfomsg
fn interface(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn kind(message: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    message.nest(IFLA_LINKINFO, |info| {
        info.put_str(IFLA_INFO_KIND, name)
            .nest(IFLA_INFO_DATA, data)
    })
}

fn in_namespace(message: Message, peer: Option<u32>) -> Message {
    match peer {
        Some(pid) => message.put_u32(IFLA_NET_NS_PID, pid),
        None => message,
    }
}

fn put_mtu(message: Message, mtu: Option<u32>) -> Message {
    match mtu {
        Some(mtu) => message.put_u32(IFLA_MTU, mtu),
        None => message,
    }
}

fn put_mac(message: Message, mac: Option<&str>) -> Result<Message> {
    Ok(match parse_mac(mac)? {
        Some(mac) => message.put(IFLA_ADDRESS, &mac),
        None => message,
    })
}

fn parse_mac(text: Option<&str>) -> Result<Option<[u8; 6]>> {
    text.map(|text| {
        hardware_address(text)
            .ok_or_else(|| Failure::kind("read a hardware address", "config-invalid").detail(text))
    })
    .transpose()
}

/// Six bytes in hexadecimal digits, with colons between.
pub fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut address {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

fn parse_prefix(text: &str, step: &str) -> Result<(IpAddr, u8)> {
    text.split_once('/')
        .and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)))
        .ok_or_else(|| Failure::kind(step, "config-invalid").detail(text))
}

fn macvlan_mode(mode: Option<&str>) -> Result<u32> {
    match mode.unwrap_or("bridge") {
        "private" => Ok(1),
        "vepa" => Ok(2),
        "bridge" => Ok(4),
        "passthru" => Ok(8),
        other => Err(Failure::kind("read a macvlan mode", "config-invalid").detail(other)),
    }
}

fn bytes_of(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (libc::AF_INET as u8, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6 as u8, address.octets().to_vec()),
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Only of the network: its paths are this namespace's own.
fn set_sysctl(path: &str, value: &str) -> Result<()> {
    let step = format!("set {path}");
    if !path.starts_with("net/") || path.split('/').any(|part| part == "..") {
        return Err(Failure::kind(step, "config-invalid"));
    }
    std::fs::write(format!("/proc/sys/{path}"), value).step(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_six_bytes() {
        assert_eq!(
            parse_mac(Some("02:42:0a:59:00:02")).unwrap(),
            Some([2, 0x42, 10, 89, 0, 2])
        );
        for wrong in [
            "02:42:0a:59:00",
            "2:42:0a:59:00:02",
            "02-42-0a-59-00-02",
            "02:42:0a:59:00:02:03",
            "",
        ] {
            assert!(parse_mac(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sysctls_are_the_networks_alone() {
        assert!(set_sysctl("kernel/hostname", "x").is_err());
        assert!(set_sysctl("net/../kernel/hostname", "x").is_err());
    }
}
