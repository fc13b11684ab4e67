//! The part of the launcher that is about containers: starting, watching, ending, removing.

use std::os::fd::OwnedFd;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::launcher::{Launcher, Purpose};
use super::poller::Token;
use super::remover;
use super::worker::Worker;
use crate::attendant::{Attendants, Duty};
use crate::error::{Failure, Result};
use crate::protocol::{Event, Frame, Report, raw};
use crate::run::{Config, Container, End, Plan, Remains, Spare, Started};

/// A container, and the `run` that has not been answered yet.
pub struct Running {
    pub(super) container: Container,
    pub(super) request: Option<u64>,
    /// Of one that waits for its program: who wants to hear that it is gone.
    pub(super) removal: Option<u64>,
    cancelled: bool,
    attendants: Attendants,
}

#[derive(Deserialize)]
pub struct Run {
    container: String,
    config: Config,
}

#[derive(Deserialize)]
pub struct Kill {
    container: String,
    signal: Option<i32>,
    #[serde(default)]
    all: bool,
}

/// What is told when the remains of a container are gone.
pub enum Farewell {
    /// A container that never ran: the answer to its `run`.
    NotStarted {
        request: u64,
        failure: Box<RawValue>,
    },
    /// One that ran, and its end where that has not been told.
    Removed { container: String, end: Option<End> },
    /// One that waited for its program and was never asked for.
    Unused { removal: Option<u64> },
}

/// Where Node finds its standard streams.
pub fn stdio_of(container: &Container) -> Event<'_> {
    let [stdin, stdout, stderr] = container.stdio();
    Event::Stdio {
        container: &container.id,
        pid: std::process::id() as i32,
        stdin,
        stdout,
        stderr,
    }
}

impl Launcher {
    pub fn run_container(&mut self, request: u64, run: Run) -> Result<()> {
        let plan = self.plan(run)?;
        let wants_network = Spare::suits_network(&plan);
        let spare = self.spares.take_for(&plan);
        let started = self.start_container(request, plan, spare);
        let Some(running) = started.and_then(|key| self.containers.get_mut(&key)) else {
            return Ok(());
        };
        running.request = Some(request);
        self.connection
            .send(&Frame::Event(stdio_of(&running.container)));
        if wants_network {
            // Node reads while the next one's is ordered.
            let _ = self.connection.flush();
            self.order_network();
        }
        Ok(())
    }

    pub(super) fn plan(&mut self, run: Run) -> Result<Plan> {
        if self.key_of(&run.container).is_some() {
            return Err(Failure::kind("start the container", "protocol")
                .detail("this container runs already"));
        }
        let rootless = self.host()?.rootless;
        let plan = Plan::new(run.container, run.config, &mut self.filters, rootless)?;
        match plan.process.terminal {
            Some(_) => Err(Failure::kind("read the configuration", "config-invalid")
                .detail("process.terminal is for a monitor")),
            None => Ok(plan),
        }
    }

    /// Its key. `None`: it could not be started, and `request` hears why when nothing is left of it.
    pub(super) fn start_container(
        &mut self,
        request: u64,
        plan: Plan,
        spare: Spare,
    ) -> Option<u64> {
        let (failure, remains) = match self.try_to_start(plan, spare) {
            Ok(key) => return Some(key),
            Err(failed) => *failed,
        };
        let failure = raw(&failure);
        self.remove_remains(remains, Farewell::NotStarted { request, failure });
        None
    }

    fn try_to_start(
        &mut self,
        plan: Plan,
        spare: Spare,
    ) -> std::result::Result<u64, Box<(Failure, Remains)>> {
        let host = self
            .host()
            .map_err(|failure| Box::new((failure, Remains::default())))?;
        let mut container = Container::start(plan, host, spare)?;
        container.hold_mounts(host);
        let key = self.next_key();
        let watched = self.poller.add(container.channel(), Token::Channel(key));
        if let Err(failure) =
            watched.and_then(|()| self.poller.add(container.pidfd(), Token::Exit(key)))
        {
            return Err(Box::new((failure, container.abandon())));
        }
        let running = Running {
            container,
            request: None,
            removal: None,
            cancelled: false,
            attendants: Attendants::default(),
        };
        self.containers.insert(key, running);
        Ok(key)
    }

    pub fn kill_container(&mut self, kill: &Kill) -> Result<()> {
        let Some(running) = self
            .key_of(&kill.container)
            .and_then(|key| self.containers.get(&key))
        else {
            return Err(Failure::kind("send a signal", "not-running"));
        };
        match kill.signal {
            _ if kill.all => running.container.kill_all(),
            Some(signal) => running.container.signal(signal)?,
            None => {
                return Err(
                    Failure::kind("send a signal", "protocol").detail("neither signal nor all")
                );
            }
        }
        Ok(())
    }

    pub fn release_container(&mut self, id: &str) {
        self.unreleased.remove(id);
        if let Some(running) = self
            .key_of(id)
            .and_then(|key| self.containers.get_mut(&key))
        {
            running.container.release();
        }
    }

    /// Ends a container whose `run` is still to be answered.
    pub fn cancel_run(&mut self, request: u64) {
        let starting = self
            .containers
            .values_mut()
            .find(|running| running.request == Some(request));
        if let Some(running) = starting {
            running.cancelled = true;
            running.container.kill_all();
        }
    }

    pub fn hear_container(&mut self, key: u64) {
        let Some(running) = self.containers.get_mut(&key) else {
            return;
        };
        if !running.container.hear() {
            self.poller.remove(running.container.channel());
        }
        for (duty, new) in running.container.take_attendants() {
            let asked = Token::Asked(key, duty);
            running.attendants.watch(duty, new, &self.poller, asked);
        }
        if let Started::Yes { warnings } = running.container.started() {
            self.answer_started(key, &warnings);
        }
    }

    pub fn attend(&mut self, key: u64, duty: Duty) {
        if let Some(running) = self.containers.get_mut(&key) {
            let end = Token::Served(key, duty);
            running.attendants.serve(duty, &self.poller, end);
        }
    }

    pub fn attended(&mut self, key: u64, duty: Duty) {
        if let Some(running) = self.containers.get_mut(&key) {
            let asked = Token::Asked(key, duty);
            running.attendants.served(duty, &self.poller, asked);
        }
    }

    pub fn end_container(&mut self, key: u64) {
        let Some(running) = self.containers.get_mut(&key) else {
            return;
        };
        let end = running.container.end();
        let mut not_started = None;
        if running.request.is_some() {
            match running.container.started_at_last() {
                Started::Yes { warnings } => self.answer_started(key, &warnings),
                Started::No { failure } => not_started = Some(failure),
                Started::NotYet => {}
            }
        }
        let Some(Running {
            container,
            request,
            removal,
            cancelled,
            attendants,
        }) = self.containers.remove(&key)
        else {
            return;
        };
        attendants.close(&self.poller);
        self.poller.remove(container.channel());
        self.poller.remove(container.pidfd());
        if container.waits() {
            let (remains, _) = container.into_remains();
            self.remove_remains(remains, Farewell::Unused { removal });
            return;
        }
        let id = container.id.clone();
        let ends_with_pid_1 = container.ends_with_pid_1();
        let (mut remains, streams) = container.into_remains();
        remains.unpublish();
        // Also of one that never ran: until Node has opened them, their numbers must not become those of others.
        if let Some(streams) = streams {
            self.unreleased.insert(id.clone(), streams);
        }
        if let (Some(mut failure), Some(request)) = (not_started, request) {
            if cancelled {
                failure = raw(&Failure::kind("start the container", "cancelled"));
            }
            self.remove_remains(remains, Farewell::NotStarted { request, failure });
            return;
        }
        let mut end = Some(end);
        if ends_with_pid_1 {
            self.tell_end(&id, end.take());
            // Before the removal is handed over, which may take a fork. What is not sent here the loop sends.
            let _ = self.connection.flush();
        }
        self.remove_remains(remains, Farewell::Removed { container: id, end });
    }

    pub fn say_farewell(&mut self, farewell: Farewell, report: &Report) {
        let errors = match report {
            Report::Ok(errors) => errors.clone(),
            Report::Error(error) | Report::Progress(error) => raw(&[error]),
        };
        match farewell {
            Farewell::NotStarted { request, failure } => {
                self.connection.send(&Frame::Error {
                    id: request,
                    error: &failure,
                });
            }
            Farewell::Unused { removal } => {
                if let Some(request) = removal {
                    self.answer_ok(request, &json!({}));
                }
            }
            Farewell::Removed { container, end } => {
                self.tell_end(&container, end);
                let event = Event::Removed {
                    container: &container,
                    errors: &errors,
                };
                self.connection.send(&Frame::Event(event));
            }
        }
    }

    /// Kills all containers and removes what they leave, without going back to the loop.
    pub fn end_containers(&mut self) {
        for running in self.containers.values() {
            running.container.kill_all();
        }
        for (_, running) in self.containers.drain() {
            let Running {
                container,
                attendants,
                ..
            } = running;
            attendants.close(&self.poller);
            for failure in container.abandon().remove() {
                super::complain(&failure);
            }
        }
    }

    fn answer_started(&mut self, key: u64, warnings: &RawValue) {
        let Some(running) = self.containers.get_mut(&key) else {
            return;
        };
        let pid = running.container.pid().as_raw_nonzero().get();
        if let Some(id) = running.request.take() {
            let ok = raw(&json!({ "pid": pid, "warnings": warnings }));
            self.connection.send(&Frame::Ok { id, ok: &ok });
        }
    }

    fn tell_end(&mut self, id: &str, end: Option<End>) {
        if let Some(End { status, oom_killed }) = end {
            self.connection.send(&Frame::Event(Event::Exit {
                container: id,
                code: status.code,
                signal: status.signal,
                oom_killed,
            }));
        }
    }

    /// By the remover; where no process can be made, here and now: nothing may stay.
    fn remove_remains(&mut self, mut remains: Remains, farewell: Farewell) {
        let key = self.next_key();
        let mounts = remains.take_mounts();
        match self.send_to_remover(key, &remains, mounts.as_ref()) {
            Ok(worker) => {
                let purpose = Purpose::Remove {
                    farewell,
                    _remains: Box::new(remains),
                };
                self.workers.insert(key, (worker, purpose));
            }
            Err(_) => {
                drop(mounts);
                self.say_farewell(farewell, &Report::Ok(raw(&remains.remove())));
            }
        }
    }

    fn send_to_remover(
        &mut self,
        key: u64,
        remains: &Remains,
        mounts: Option<&OwnedFd>,
    ) -> Result<Worker> {
        let ask = |worker: Worker| {
            let watched = self.poller.add(&worker, Token::Worker(key));
            match watched.and_then(|()| remover::ask(&worker, remains.removal(), mounts)) {
                Ok(()) => Ok(worker),
                Err(failure) => {
                    self.poller.remove(&worker);
                    worker.kill();
                    Err(failure)
                }
            }
        };
        if let Some(worker) = self.remover.take().and_then(|idle| ask(idle).ok()) {
            return Ok(worker);
        }
        ask(remover::spawn()?)
    }

    /// One is enough to wait for the next removal; those beyond it worked while it did.
    pub fn keep_remover(&mut self, worker: Worker) {
        if let Some(surplus) = self.remover.replace(worker) {
            surplus.kill();
        }
    }

    pub(super) fn key_of(&self, id: &str) -> Option<u64> {
        self.containers
            .iter()
            .find(|(_, running)| running.container.id == id)
            .map(|(&key, _)| key)
    }
}
