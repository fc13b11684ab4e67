//! Sockets for Node: they travel over the channel that Node itself makes to a child (`stdio: 'ipc'`), in the words that its
//! own child processes use. A socket stays in the network namespace it was made in, so Node listens and dials where it
//! never was, with no relay in between.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;

use crate::error::{Result, Step};
use crate::sys;

/// Where Node says which descriptor it is.
const VARIABLE: &str = "NODE_CHANNEL_FD";

/// What Node makes of a socket.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum HandleKind {
    /// A `net.Socket`, connected.
    #[serde(rename = "net.Socket")]
    Connected,
    /// What a `net.Server` listens on.
    #[serde(rename = "net.Native")]
    Listening,
}

pub struct Handles {
    channel: OwnedFd,
    unsent: VecDeque<(Vec<u8>, OwnedFd)>,
    /// The channel is full.
    blocked: bool,
}

#[derive(Serialize)]
struct Envelope {
    cmd: &'static str,
    #[serde(rename = "type")]
    kind: HandleKind,
    msg: Message,
}

#[derive(Serialize)]
struct Message {
    socket: u64,
}

impl Handles {
    /// `None` when whoever started this process is no Node, or has no channel to it.
    pub fn take() -> Result<Option<Self>> {
        let number = std::env::var(VARIABLE)
            .ok()
            .and_then(|text| text.parse::<RawFd>().ok());
        let Some(channel) = number.and_then(sys::process::adopt) else {
            return Ok(None);
        };
        rustix::io::fcntl_setfd(&channel, rustix::io::FdFlags::CLOEXEC).step("mark the channel")?;
        rustix::io::ioctl_fionbio(&channel, true).step("make the channel non-blocking")?;
        Ok(Some(Handles {
            channel,
            unsent: VecDeque::new(),
            blocked: false,
        }))
    }

    /// Queues a socket; `flush` sends it. `number` tells Node which one it is.
    pub fn give(&mut self, number: u64, kind: HandleKind, socket: OwnedFd) {
        let envelope = Envelope {
            cmd: "NODE_HANDLE",
            kind,
            msg: Message { socket: number },
        };
        let mut bytes = serde_json::to_vec(&envelope).expect("plain data has a JSON form");
        bytes.push(b'\n');
        self.unsent.push_back((bytes, socket));
    }

    /// Sends as many as the channel takes. Tells whether to watch for more room, where that changes.
    pub fn flush(&mut self) -> Result<Option<bool>> {
        let was = self.blocked;
        self.blocked = !self.send_all()?;
        Ok((self.blocked != was).then_some(self.blocked))
    }

    fn send_all(&mut self) -> Result<bool> {
        while let Some((bytes, socket)) = self.unsent.front() {
            match send(&self.channel, bytes, socket.as_fd()) {
                Ok(()) => drop(self.unsent.pop_front()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                // Node is gone, which the connection tells.
                Err(Errno::PIPE | Errno::CONNRESET) => self.unsent.clear(),
                Err(errno) => return Err(errno).step("give Node a socket"),
            }
        }
        Ok(true)
    }

    /// Takes away what Node says, which is only that it has received a socket. False when it has hung up.
    pub fn drain(&self) -> bool {
        let mut buffer = [0; 4096];
        match rustix::net::recv(&self.channel, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) => length > 0,
            Err(errno) => matches!(errno, Errno::AGAIN | Errno::INTR),
        }
    }
}

impl AsFd for Handles {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// A message this short is sent whole or not at all.
fn send(channel: &OwnedFd, bytes: &[u8], socket: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [socket];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let slices = [IoSlice::new(bytes)];
    sendmsg(channel, &slices, &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}
