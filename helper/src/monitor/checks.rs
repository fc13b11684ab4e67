//! Carrying health checks out: each is an exec whose output the monitor reads itself.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::clock;
use super::health::{Check, Health, HealthStatus, NONE, OUTPUT, OnUnhealthy};
use super::monitor::{Monitor, Token};
use super::requests::Stop;
use super::state::Status;
use super::timers::Timer;
use crate::error::{Failure, Result, Step};
use crate::protocol::raw;
use crate::run::{Exec, Started, Streams};

/// A check that is under way.
pub struct Checking {
    key: u64,
    exec: Exec,
    start: String,
    output: Vec<u8>,
    pipes: [Option<OwnedFd>; 2],
    timed_out: bool,
    /// Nobody wants to know any more.
    given_up: bool,
}

/// Of the configuration, what a check runs under too.
#[derive(Deserialize)]
struct Profile {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    seccomp: Option<Box<RawValue>>,
}

impl Monitor<'_> {
    /// A run has begun.
    pub fn begin_checks(&mut self) {
        if self.plan.as_ref().is_some_and(|plan| plan.health.is_some()) {
            self.state.health = Some(Health::starting(self.state.health.take()));
            self.wait_for_check();
        }
    }

    /// The run has ended, or stands still.
    pub fn end_checks(&mut self) {
        self.timers.clear(Timer::Check);
        self.timers.clear(Timer::CheckTimeout);
        if let Some(checking) = &mut self.checking {
            checking.given_up = true;
            checking.exec.kill_all();
        }
    }

    pub fn wait_for_check(&mut self) {
        let running = self.life.as_ref().map(|life| life.lasted());
        let plan = self.plan.as_ref().and_then(|plan| plan.health.as_ref());
        if let (Some(health), Some(plan), Some(running)) = (&self.state.health, plan, running) {
            self.timers.set(Timer::Check, health.pause(plan, running));
        }
    }

    pub fn check(&mut self) {
        let start = clock::now();
        if self.checking.is_some() || self.state.status != Status::Running {
            return self.wait_for_check();
        }
        match self.begin_check(&start) {
            Ok(()) => {
                let plan = self.plan.as_ref().and_then(|plan| plan.health.as_ref());
                if let Some(plan) = plan.filter(|plan| plan.timeout > 0) {
                    let timeout = Duration::from_millis(plan.timeout);
                    self.timers.set(Timer::CheckTimeout, timeout);
                }
            }
            Err(failure) => {
                let text = failure.to_string();
                self.conclude(Check::new(start, clock::now(), NONE, text.as_bytes()));
            }
        }
    }

    /// Its whole tree is killed; the outcome follows from that.
    pub fn time_check_out(&mut self) {
        if let Some(checking) = &mut self.checking {
            checking.timed_out = true;
            checking.exec.kill_all();
        }
    }

    pub fn hear_check(&mut self, index: u64) {
        if let Some(checking) = &mut self.checking {
            let index = usize::from(index != 0);
            if !checking.read(index) {
                if let Some(pipe) = checking.pipes[index].take() {
                    self.poller.remove(&pipe);
                }
            }
        }
    }

    pub fn end_check(&mut self, key: u64) {
        if self
            .checking
            .as_ref()
            .is_none_or(|checking| checking.key != key)
        {
            return;
        }
        let Some(mut checking) = self.checking.take() else {
            return;
        };
        self.timers.clear(Timer::CheckTimeout);
        let status = checking.exec.end().status;
        self.poller.remove(checking.exec.pidfd());
        for index in 0..2 {
            // What a process that it left behind may still write is not waited for.
            while checking.output.len() < OUTPUT && checking.read(index) {}
            if let Some(pipe) = checking.pipes[index].take() {
                self.poller.remove(&pipe);
            }
        }
        let (code, output) = match checking.exec.started_at_last() {
            _ if checking.timed_out => (NONE, b"the check exceeded its time-out".to_vec()),
            Started::No { failure } => {
                (NONE, Failure::from_json(&failure).to_string().into_bytes())
            }
            _ => (
                status
                    .code
                    .unwrap_or(128 + status.signal.unwrap_or_default()),
                checking.output,
            ),
        };
        let given_up = checking.given_up;
        let start = checking.start;
        self.leave(checking.exec);
        if !given_up {
            self.conclude(Check::new(start, clock::now(), code, &output));
        }
    }

    /// What a check is to be waited for, killed: it may hold the end of the container's pid 1 up.
    pub fn abandon_check(&mut self) {
        self.end_checks();
        if let Some(key) = self.checking.as_ref().map(|checking| checking.key) {
            self.end_check(key);
        }
    }

    fn begin_check(&mut self, start: &str) -> Result<()> {
        let key = self.next_key();
        let (Some(plan), Some(life)) = (&self.plan, &self.life) else {
            return Ok(());
        };
        let Some(health) = &plan.health else {
            return Ok(());
        };
        let profile: Option<Profile> = serde_json::from_str(plan.config.get()).ok();
        let seccomp = profile.and_then(|profile| profile.linux?.seccomp);
        let request = raw(&json!({
            "exec": format!("health-{key}"),
            "process": health.process,
            "stdio": { "stdin": "null", "stdout": "pipe", "stderr": "pipe" },
            "seccomp": seccomp,
        }));
        let request = serde_json::from_str(request.get())
            .map_err(|error| Failure::new("read the check").detail(error.to_string()))?;
        let mut exec = Exec::start(request, life.container.entry(), self.filters, self.host)?;
        let pipes = match exec.take_streams() {
            Some(Streams([_, stdout, stderr])) => {
                [stdout, stderr].map(|pipe| pipe.map(|pipe| pipe.read))
            }
            None => [None, None],
        };
        let watched = self
            .poller
            .add(exec.pidfd(), Token::CheckExit(key))
            .and_then(|()| {
                for (index, pipe) in pipes.iter().enumerate() {
                    if let Some(pipe) = pipe {
                        rustix::io::ioctl_fionbio(pipe, true).step("watch the check")?;
                        self.poller.add(pipe, Token::CheckOutput(index as u64))?;
                    }
                }
                Ok(())
            });
        if let Err(failure) = watched {
            exec.kill_all();
            exec.end();
            self.leave(exec);
            return Err(failure);
        }
        self.checking = Some(Checking {
            key,
            exec,
            start: start.into(),
            output: Vec::new(),
            pipes,
            timed_out: false,
            given_up: false,
        });
        Ok(())
    }

    fn conclude(&mut self, check: Check) {
        let running = self.life.as_ref().map(|life| life.lasted());
        let plan = self.plan.as_ref().and_then(|plan| plan.health.as_ref());
        let (Some(health), Some(plan), Some(running)) = (&mut self.state.health, plan, running)
        else {
            return;
        };
        let before = health.status;
        let changed = health.record(plan, running, check);
        let fell = before != health.status && health.status == HealthStatus::Unhealthy;
        let action = plan.on_unhealthy;
        if changed {
            self.tell_state();
        }
        self.wait_for_check();
        if fell {
            match action {
                OnUnhealthy::Nothing => {}
                OnUnhealthy::Kill => self.kill_processes(),
                OnUnhealthy::Restart => {
                    self.again = true;
                    self.begin_to_stop(self.stop_plan(&Stop::default()));
                }
                OnUnhealthy::Stop => {
                    self.state.stopped = true;
                    self.begin_to_stop(self.stop_plan(&Stop::default()));
                }
            }
        }
    }
}

impl Checking {
    /// Reads once; false when there is nothing more. What is over the limit is read all the same, so that the check does
    /// not wait.
    fn read(&mut self, index: usize) -> bool {
        let Some(pipe) = &self.pipes[index] else {
            return false;
        };
        let mut piece = Vec::with_capacity(OUTPUT);
        match rustix::io::read(pipe, spare_capacity(&mut piece)) {
            Ok(length) if length > 0 => {
                let room = OUTPUT.saturating_sub(self.output.len());
                self.output.extend_from_slice(&piece[..length.min(room)]);
                true
            }
            _ => false,
        }
    }
}
