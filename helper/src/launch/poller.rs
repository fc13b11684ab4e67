//! What the launcher waits for, and which object each wake-up belongs to.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::error::{Result, Step};

/// The owner of a descriptor that became ready. Keys are never used twice, so a stale one finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Connection,
    Signal,
    Worker(u64),
    /// The channel of a container that is being started.
    Channel(u64),
    /// The end of a container's pid 1.
    Exit(u64),
}

pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).step("make an epoll instance")?;
        Ok(Poller { epoll })
    }

    pub fn add(&self, fd: impl AsFd, token: Token) -> Result<()> {
        epoll::add(&self.epoll, fd, data(token), EventFlags::IN).step("watch a descriptor")
    }

    /// Whether to be woken also when the descriptor takes bytes again.
    pub fn watch_writable(&self, fd: impl AsFd, token: Token, writable: bool) -> Result<()> {
        let flags = if writable {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        epoll::modify(&self.epoll, fd, data(token), flags).step("watch a descriptor")
    }

    /// Must come before closing: a freshly forked child may still hold a copy, which would keep the entry alive.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    pub fn wait(&self) -> Result<Vec<Token>> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        loop {
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).step("wait for events"),
            }
        }
        Ok(events.iter().map(|event| token(event.data)).collect())
    }
}

fn data(token: Token) -> EventData {
    EventData::new_u64(match token {
        Token::Connection => 0,
        Token::Signal => 1,
        Token::Worker(key) => (key << 3) | 2,
        Token::Channel(key) => (key << 3) | 3,
        Token::Exit(key) => (key << 3) | 4,
    })
}

fn token(data: EventData) -> Token {
    let data = data.u64();
    match data & 7 {
        0 => Token::Connection,
        1 => Token::Signal,
        2 => Token::Worker(data >> 3),
        3 => Token::Channel(data >> 3),
        _ => Token::Exit(data >> 3),
    }
}
