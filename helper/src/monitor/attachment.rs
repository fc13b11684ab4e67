//! A connection that has become one raw stream.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::monitor::{Poller, Token};

/// What a program leaves in its pipes when it ends is kept for those attached, after each of its runs. One that has not
/// read for so many runs that it comes to more than this is let go.
const UNREAD: usize = 4 << 20;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the program.
    In,
    /// From it.
    Out,
    Both,
}

pub struct Attachment {
    key: u64,
    socket: OwnedFd,
    pub stream: u64,
    direction: Direction,
    unsent: Vec<u8>,
    /// What it is watched for; `None`: not at all.
    watched: Option<EventFlags>,
    /// The other side has closed it altogether.
    pub hung: bool,
    /// It has nothing more to say.
    pub ended: bool,
}

impl Attachment {
    /// `unsent` are the last frames of the connection it was.
    pub fn new(
        key: u64,
        socket: OwnedFd,
        stream: u64,
        direction: Direction,
        unsent: Vec<u8>,
    ) -> Self {
        Attachment {
            key,
            socket,
            stream,
            direction,
            unsent,
            watched: None,
            hung: false,
            ended: false,
        }
    }

    pub fn gives(&self) -> bool {
        self.direction != Direction::Out && !self.ended
    }

    pub fn takes(&self) -> bool {
        self.direction != Direction::In && !self.hung
    }

    /// It has taken everything so far.
    pub fn is_clear(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Hands bytes over; what does not fit is kept.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match self.unsent.is_empty() {
            true => self.push(bytes),
            false => 0,
        };
        if self.unsent.len() + bytes.len() > UNREAD {
            self.hung = true;
        }
        if !self.hung {
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
    }

    pub fn flush(&mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        let sent = self.push(&unsent);
        if !self.hung && sent < unsent.len() {
            self.unsent = unsent;
            self.unsent.drain(..sent);
        }
    }

    fn push(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match rustix::net::send(&self.socket, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.hung = true;
                    break;
                }
            }
        }
        sent
    }

    /// Watches it for what is of use now. One that has hung up would wake the loop for ever: it is watched only while it
    /// is being read.
    pub fn watch(&mut self, poller: &Poller, reading: bool) {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, reading);
        flags.set(EventFlags::OUT, !self.unsent.is_empty());
        let wanted = (!self.hung || reading).then_some(flags);
        if wanted == self.watched {
            return;
        }
        let token = Token::Attachment(self.key);
        let watched = match (self.watched, wanted) {
            (None, Some(flags)) => poller.add_for(&self.socket, token, flags),
            (Some(_), Some(flags)) => poller.modify(&self.socket, token, flags),
            (_, None) => {
                poller.remove(&self.socket);
                Ok(())
            }
        };
        match watched {
            Ok(()) => self.watched = wanted,
            // Without memory for it in the kernel it cannot be served.
            Err(_) => (self.hung, self.ended) = (true, true),
        }
    }
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
