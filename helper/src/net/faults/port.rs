//! The link by which packets come and go: its end in this process's network namespace, read and written frame by frame.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send,
    socket_with,
};

use crate::error::{Result, Step};
use crate::sys::network::{bind_packet, enable_option, set_receive_buffer};

/// struct virtio_net_hdr: what of a frame's checksum is still to be computed, and where. Nothing of it is looked at; it goes with the
/// frame.
pub const PREFIX: usize = 10;
/// Longer than any frame.
const FRAME: usize = 68 << 10;
const RECEIVE_BUFFER: i32 = 16 << 20;

pub struct Port {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Port {
    /// In the namespace of this process.
    pub fn open(name: &str) -> Result<Port> {
        const SOL_PACKET: i32 = 263;
        const PACKET_VNET_HDR: i32 = 15;
        const PACKET_IGNORE_OUTGOING: i32 = 23;
        const STEP: &str = "open the port for packets";
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).step(STEP)?;
        for option in [PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING] {
            enable_option(&socket, SOL_PACKET, option).step(STEP)?;
        }
        set_receive_buffer(&socket, RECEIVE_BUFFER).step(STEP)?;
        let index = netdevice::name_to_index(&socket, name).step(STEP)?;
        bind_packet(&socket, index).step(STEP)?;
        Ok(Port {
            socket,
            buffer: vec![0; FRAME],
        })
    }

    /// The next frame with its prefix, if one has come.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => return Ok(Some(self.buffer[..length].to_vec())),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).step("receive a packet"),
            }
        }
    }

    /// Sends a frame with its prefix. One that cannot be sent now is lost, as on any wire.
    pub fn send(&self, packet: &[u8]) {
        let _ = send(&self.socket, packet, SendFlags::empty());
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
