//! The part of the launcher that is about monitors: forking them, and holding their lifelines.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use serde_json::value::RawValue;

use super::launcher::{Launcher, Purpose};
use super::poller::Token;
use super::worker::Worker;
use crate::error::{Failure, Result, Step};
use crate::monitor::{self, Setup};

impl Launcher {
    pub fn start_monitor(&mut self, request: u64, setup: &Setup) -> Result<()> {
        let Some(host) = &self.host else {
            return Err(Failure::kind("read a request", "protocol"));
        };
        let (ours, theirs) = pair()?;
        let keep = [
            host.procfs.as_fd().as_raw_fd(),
            host.helper.as_raw_fd(),
            theirs.as_raw_fd(),
        ];
        let filters = &mut self.filters;
        let worker = Worker::fork(&keep, |socket| {
            monitor::detach(setup, socket, &theirs, host, filters)
        })?;
        let purpose = Purpose::Monitor {
            request,
            lifeline: ours,
        };
        self.watch_worker(worker, purpose)
    }

    pub fn monitor_started(&mut self, request: u64, lifeline: OwnedFd, ok: &RawValue) {
        let key = self.next_key();
        if let Err(failure) = self.poller.add(&lifeline, Token::Lifeline(key)) {
            return self.answer_error(request, &failure);
        }
        self.lifelines.insert(key, lifeline);
        self.answer_ok(request, &ok);
    }

    /// A bound monitor has ended, or a detached one needs this launcher no more.
    pub fn end_lifeline(&mut self, key: u64) {
        if let Some(lifeline) = self.lifelines.remove(&key) {
            self.poller.remove(&lifeline);
        }
    }

    /// Tells the monitors to end that are bound, or that nobody has connected to.
    pub fn cut_lifelines(&mut self) {
        for lifeline in self.lifelines.values() {
            let _ = rustix::net::shutdown(lifeline, Shutdown::Write);
        }
    }

    /// Their containers and what these left are gone when they have ended.
    pub fn await_monitors(&mut self) {
        for (_, lifeline) in self.lifelines.drain() {
            let mut ready = [PollFd::new(&lifeline, PollFlags::IN)];
            while rustix::event::poll(&mut ready, None) == Err(rustix::io::Errno::INTR) {}
        }
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .step("make a socket pair")
}
