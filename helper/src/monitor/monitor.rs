//! The loop: connections, the container's events, timers.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::net::Shutdown;
use serde_json::value::RawValue;

use super::Setup;
use super::checks::Checking;
use super::door::Door;
use super::execs::Execs;
use super::lifecycle::Life;
use super::networks::Postponed;
use super::plan::MonitorPlan;
use super::relay::Relay;
use super::restart::History;
use super::state::State;
use super::timers::{Timer, Timers};
use super::waiters::Waiter;
use crate::attendant::Duty;
use crate::connection::Connection;
use crate::error::{Failure, Result, Step};
use crate::protocol::{Event, Frame, raw};
use crate::run::{Filters, Host, Remains};
use crate::sys;

pub type Poller = crate::poller::Poller<Token>;

/// How long a monitor waits for the first to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so long a silence there may be more of it.
const IDLE: Duration = Duration::from_millis(500);

/// A connection that leaves more than this unread is closed.
const UNREAD: usize = 4 << 20;

/// The owner of a descriptor that became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Door,
    Lifeline,
    Signal,
    Client(u64),
    Attachment(u64),
    /// The channel of the container that is being started, and of an exec.
    Channel(u64),
    Exit(u64),
    ExecChannel(u64),
    ExecExit(u64),
    CheckExit(u64),
    /// Its stdout or stderr.
    CheckOutput(u64),
    /// Something that is attended to for the container, and the end of who serves it.
    Asked(u64, Duty),
    Served(u64, Duty),
    /// What a program writes, and what it reads.
    Output(u64),
    Input(u64),
}

pub struct Monitor<'a> {
    pub(super) poller: Poller,
    pub(super) host: &'a Host,
    pub(super) filters: &'a mut Filters,
    pub(super) container: String,
    /// Closed when there is nothing more to ask.
    pub(super) door: Option<Door>,
    /// Ends with the launcher. Of a detached one it counts only until the first has connected.
    lifeline: &'a OwnedFd,
    bound: bool,
    /// Kept open so that it stays in the poller.
    _signals: OwnedFd,
    pub(super) clients: BTreeMap<u64, Client>,
    pub(super) relay: Relay,
    pub(super) plan: Option<MonitorPlan>,
    pub(super) state: State,
    /// As it was told last.
    pub(super) told: Option<Box<RawValue>>,
    pub(super) life: Option<Life>,
    /// Of the life before, until the next one has locks of its own.
    pub(super) remains: Remains,
    pub(super) execs: Execs,
    /// A health check that is under way.
    pub(super) checking: Option<Checking>,
    pub(super) waiters: Vec<Waiter>,
    /// Changes of its networks, until it has been started.
    pub(super) postponed: Vec<Postponed>,
    pub(super) timers: Timers,
    pub(super) history: History,
    /// A program was executed.
    pub(super) has_run: bool,
    /// The present run is to be followed by another, whatever the policy.
    pub(super) again: bool,
    /// The host is going down, or asks for this to end.
    pub(super) terminating: bool,
    /// Only connections are left to be served.
    pub(super) over: bool,
    /// Memory may be given back.
    idle: bool,
    last_key: u64,
}

pub struct Client {
    pub connection: Connection,
    /// Hears of changes of state.
    pub watches: bool,
    /// Whether it is watched for taking bytes again.
    congested: bool,
}

impl<'a> Monitor<'a> {
    pub fn new(
        setup: &Setup,
        door: Door,
        lifeline: &'a OwnedFd,
        host: &'a Host,
        filters: &'a mut Filters,
    ) -> Result<Self> {
        let poller = Poller::new()?;
        // They are blocked since the launcher began.
        let signals = sys::signal::signalfd(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])
            .step("make a signalfd")?;
        poller.add(&door, Token::Door)?;
        poller.add(&signals, Token::Signal)?;
        poller.add(lifeline, Token::Lifeline)?;
        let mut timers = Timers::default();
        timers.set(Timer::Forsaken, PATIENCE);
        Ok(Monitor {
            poller,
            host,
            filters,
            container: setup.container.clone(),
            door: Some(door),
            lifeline,
            bound: setup.bound,
            _signals: signals,
            clients: BTreeMap::new(),
            relay: Relay::default(),
            plan: None,
            state: State::new(),
            told: None,
            life: None,
            remains: Remains::default(),
            execs: Execs::default(),
            checking: None,
            waiters: Vec::new(),
            postponed: Vec::new(),
            timers,
            history: History::default(),
            has_run: false,
            again: false,
            terminating: false,
            over: false,
            idle: false,
            last_key: 0,
        })
    }

    /// Until the container has ended for good and all who listen know, or until the lifeline ends.
    pub fn run(mut self) -> Result<()> {
        loop {
            self.flush();
            if self.is_done() {
                return Ok(());
            }
            let timeout = self.timers.first();
            if std::mem::take(&mut self.idle) {
                self.relay.trim();
                // Directly before the wait, so that little is touched between.
                sys::memory::trim();
            }
            let ready = self.poller.wait(timeout)?;
            if !ready.is_empty() {
                self.timers.set(Timer::Idle, IDLE);
            }
            for (token, flags) in ready {
                if !self.event(token, flags) {
                    self.perish();
                    return Ok(());
                }
            }
            while let Some(timer) = self.timers.due() {
                self.timer(timer);
            }
            if std::mem::take(&mut self.relay.log_failed) {
                self.tell_state();
            }
        }
    }

    /// False when the monitor is to end at once, and its container with it.
    fn event(&mut self, token: Token, flags: EventFlags) -> bool {
        match token {
            Token::Door => self.welcome(),
            Token::Lifeline => return false,
            Token::Signal if self.bound => return false,
            Token::Signal => self.terminate(),
            Token::Client(key) => self.hear_client(key),
            Token::Attachment(key) => self.relay.attachment_ready(&self.poller, key, flags),
            Token::Channel(key) => self.hear_container(key),
            Token::Exit(key) => self.end_life(key),
            Token::ExecChannel(key) => self.hear_exec(key),
            Token::ExecExit(key) => self.end_exec(key),
            Token::CheckExit(key) => self.end_check(key),
            Token::CheckOutput(index) => self.hear_check(index),
            Token::Asked(key, duty) => self.attend(key, duty),
            Token::Served(key, duty) => self.attended(key, duty),
            Token::Output(id) => self.relay.readable(&self.poller, id),
            Token::Input(id) => self.relay.writable(&self.poller, id, flags),
        }
        true
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Forsaken => {}
            Timer::Kill => self.kill_processes(),
            Timer::Restart => self.begin_life(),
            Timer::Check => self.check(),
            Timer::CheckTimeout => self.time_check_out(),
            Timer::Freeze => self.look_at_freezer(),
            Timer::Idle => self.idle = true,
        }
    }

    fn is_done(&mut self) -> bool {
        let alone = self.clients.is_empty() && self.relay.is_idle();
        if self.over {
            let told = self
                .clients
                .values()
                .all(|client| client.connection.unsent() == 0);
            return told && self.relay.is_idle();
        }
        // One that was never asked to start has nothing to do but for those who are connected.
        self.plan.is_none() && alone && !self.timers.is_set(Timer::Forsaken)
    }

    fn welcome(&mut self) {
        while let Some(socket) = self.door.as_ref().and_then(Door::accept) {
            let key = self.next_key();
            let watched = self.poller.add(&socket, Token::Client(key));
            if let (Ok(()), Ok(connection)) = (watched, Connection::new(socket)) {
                self.be_found();
                self.clients.insert(
                    key,
                    Client {
                        connection,
                        watches: false,
                        congested: false,
                    },
                );
            }
        }
    }

    /// Who has connected decides from now on what becomes of one that is detached.
    fn be_found(&mut self) {
        if self.timers.is_set(Timer::Forsaken) && !self.bound {
            self.poller.remove(self.lifeline);
            let _ = rustix::net::shutdown(self.lifeline, Shutdown::Both);
        }
        self.timers.clear(Timer::Forsaken);
    }

    /// A connection that breaks the protocol is closed; the others are not concerned.
    fn hear_client(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let open = client.connection.receive().unwrap_or(false);
        // It may become an attachment at any request.
        while let Some(client) = self.clients.get_mut(&key) {
            let answered = match client.connection.next() {
                Ok(Some(frame)) => self.request(key, &frame),
                Ok(None) => break,
                Err(failure) => Err(failure),
            };
            if answered.is_err() {
                return self.dismiss(key);
            }
        }
        if !open {
            self.dismiss(key);
        }
    }

    fn dismiss(&mut self, key: u64) {
        if let Some(client) = self.clients.remove(&key) {
            self.poller.remove(&client.connection);
            self.end_execs_of(key);
        }
    }

    pub(super) fn flush(&mut self) {
        let mut lost = Vec::new();
        for (&key, client) in &mut self.clients {
            let flushed = match client.connection.flush() {
                Ok(drained) if drained != client.congested => Ok(()),
                Ok(drained) => {
                    client.congested = !drained;
                    let token = Token::Client(key);
                    self.poller
                        .watch_writable(&client.connection, token, !drained)
                }
                Err(failure) => Err(failure),
            };
            if flushed.is_err() || client.connection.unsent() > UNREAD {
                lost.push(key);
            }
        }
        for key in lost {
            self.dismiss(key);
        }
    }

    pub(super) fn answer(
        &mut self,
        (client, id): (u64, u64),
        result: Result<Box<RawValue>, Box<RawValue>>,
    ) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.connection.send(&match &result {
                Ok(ok) => Frame::Ok { id, ok },
                Err(error) => Frame::Error { id, error },
            });
        }
    }

    pub(super) fn answer_failure(&mut self, request: (u64, u64), failure: &Failure) {
        self.answer(request, Err(raw(failure)));
    }

    pub(super) fn tell_watchers(&mut self, event: Event<'_>) {
        let frame = Frame::Event(event);
        for client in self.clients.values_mut().filter(|client| client.watches) {
            client.connection.send(&frame);
        }
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        match token {
            Token::Door => 0,
            Token::Lifeline => 1,
            Token::Signal => 2,
            Token::Client(key) => (key << 4) | 3,
            Token::Attachment(key) => (key << 4) | 4,
            Token::Channel(key) => (key << 4) | 5,
            Token::Exit(key) => (key << 4) | 6,
            Token::ExecChannel(key) => (key << 4) | 7,
            Token::ExecExit(key) => (key << 4) | 8,
            Token::CheckExit(key) => (key << 4) | 11,
            Token::CheckOutput(index) => (index << 4) | 12,
            Token::Asked(key, duty) => (key << 5) | (duty.bit() << 4) | 13,
            Token::Served(key, duty) => (key << 5) | (duty.bit() << 4) | 14,
            Token::Output(id) => (id << 4) | 9,
            Token::Input(id) => (id << 4) | 10,
        }
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Token {
        let key = data >> 4;
        match data & 15 {
            0 => Token::Door,
            1 => Token::Lifeline,
            2 => Token::Signal,
            3 => Token::Client(key),
            4 => Token::Attachment(key),
            5 => Token::Channel(key),
            6 => Token::Exit(key),
            7 => Token::ExecChannel(key),
            8 => Token::ExecExit(key),
            9 => Token::Output(key),
            10 => Token::Input(key),
            11 => Token::CheckExit(key),
            12 => Token::CheckOutput(key),
            13 => Token::Asked(key >> 1, Duty::of_bit(key)),
            _ => Token::Served(key >> 1, Duty::of_bit(key)),
        }
    }
}
