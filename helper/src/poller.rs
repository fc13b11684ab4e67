//! What a process waits for, and which object each wake-up belongs to.

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::error::{Result, Step};

/// Tokens name the owner of a descriptor. They should never be used twice, so that a stale one finds nothing.
pub struct Poller<T> {
    epoll: OwnedFd,
    _tokens: PhantomData<T>,
}

impl<T: Into<u64> + From<u64>> Poller<T> {
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).step("make an epoll instance")?;
        Ok(Poller {
            epoll,
            _tokens: PhantomData,
        })
    }

    pub fn add(&self, fd: impl AsFd, token: T) -> Result<()> {
        self.add_for(fd, token, EventFlags::IN)
    }

    /// Errors and the other side's end are told whatever `flags` are.
    pub fn add_for(&self, fd: impl AsFd, token: T, flags: EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, data(token), flags).step("watch a descriptor")
    }

    pub fn modify(&self, fd: impl AsFd, token: T, flags: EventFlags) -> Result<()> {
        epoll::modify(&self.epoll, fd, data(token), flags).step("watch a descriptor")
    }

    /// Whether to be woken also when the descriptor takes bytes again.
    pub fn watch_writable(&self, fd: impl AsFd, token: T, writable: bool) -> Result<()> {
        let flags = if writable {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        self.modify(fd, token, flags)
    }

    /// Must come before closing: a freshly forked child may still hold a copy, which would keep the entry alive.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits, without a time-out for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Vec<(T, EventFlags)>> {
        let timeout = timeout.map(|duration| Timespec {
            tv_sec: duration.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: i64::from(duration.subsec_nanos()),
        });
        let mut events: Vec<Event> = Vec::with_capacity(64);
        loop {
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, room, timeout.as_ref()) {
                Ok(_) => break,
                // With a time-out the caller looks at the clock anyway.
                Err(rustix::io::Errno::INTR) if timeout.is_some() => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).step("wait for events"),
            }
        }
        Ok(events
            .iter()
            .map(|event| (T::from(event.data.u64()), event.flags))
            .collect())
    }
}

fn data(token: impl Into<u64>) -> EventData {
    EventData::new_u64(token.into())
}
