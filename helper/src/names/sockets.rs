//! The two sockets of a name service.

use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use crate::error::{Result, Step};

const BACKLOG: i32 = 32;

pub struct Sockets {
    udp: OwnedFd,
    tcp: OwnedFd,
}

impl Sockets {
    /// In the network namespace of this process. They never block, whoever has them.
    pub fn open(address: SocketAddrV4) -> Result<Self> {
        let step = "open the name service";
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let [udp, tcp] = [SocketType::DGRAM, SocketType::STREAM]
            .map(|kind| socket_with(AddressFamily::INET, kind, flags, None).step(step));
        let (udp, tcp) = (udp?, tcp?);
        bind(&udp, &address).step(step)?;
        bind(&tcp, &address).step(step)?;
        listen(&tcp, BACKLOG).step(step)?;
        Ok(Sockets { udp, tcp })
    }

    /// As `descriptors` gave them.
    pub fn received(udp: OwnedFd, tcp: OwnedFd) -> Self {
        Sockets { udp, tcp }
    }

    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.udp.as_fd(), self.tcp.as_fd()]
    }

    /// For the process that answers.
    pub fn duplicate(&self) -> Result<(UdpSocket, TcpListener)> {
        let step = "take over the name service";
        let udp = self.udp.try_clone().step(step)?;
        let tcp = self.tcp.try_clone().step(step)?;
        Ok((udp.into(), tcp.into()))
    }
}
