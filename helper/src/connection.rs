//! A socket to Node: whole frames in, whole frames out, never blocking.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::Serialize;

use crate::error::{Result, Step};
use crate::protocol::{self, FrameReader};

/// Above this many unsent bytes, progress is no longer queued: it is advice, and Node is not reading.
const CONGESTED: usize = 256 << 10;

/// Bytes to take in at once.
const RECEIVE: usize = 64 << 10;

pub struct Connection {
    socket: OwnedFd,
    reader: FrameReader,
    unsent: Vec<u8>,
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true).step("make the socket non-blocking")?;
        Ok(Connection {
            socket,
            reader: FrameReader::default(),
            unsent: Vec::new(),
        })
    }

    /// Takes in what has arrived; false when Node is gone.
    pub fn receive(&mut self) -> Result<bool> {
        let room = self.reader.room(RECEIVE);
        match rustix::net::recv(&self.socket, room, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(false),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(errno) => Err(errno).step("receive from Node"),
        }
    }

    /// The next request that has arrived whole.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.reader.next()?.map(<[u8]>::to_vec))
    }

    /// Queues a frame; `flush` sends it.
    pub fn send(&mut self, frame: &impl Serialize) {
        self.unsent.extend(protocol::encode(frame));
    }

    pub fn congested(&self) -> bool {
        self.unsent.len() > CONGESTED
    }

    /// Bytes that the socket has not taken.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Ends the frames: the socket, the bytes received after the last one, and those not yet sent.
    pub fn into_raw(self) -> (OwnedFd, Vec<u8>, Vec<u8>) {
        (self.socket, self.reader.into_rest(), self.unsent)
    }

    /// Sends as much as the socket takes. False when some is left.
    pub fn flush(&mut self) -> Result<bool> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match rustix::net::send(&self.socket, &self.unsent[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Node is gone: the read side reports that, and ends the launcher in order.
                Err(Errno::PIPE | Errno::CONNRESET) => sent = self.unsent.len(),
                Err(errno) => return Err(errno).step("send to Node"),
            }
        }
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
