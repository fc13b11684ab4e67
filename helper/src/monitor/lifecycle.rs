//! From `start` to the end of the last run, and what is left of it.

use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use super::clock;
use super::log::{Log, Source};
use super::monitor::{Monitor, Token};
use super::plan::MonitorPlan;
use super::relay::{CONTAINERS, STDERR, STDIN, STDOUT, TERMINAL};
use super::requests::Request;
use super::restart::{self, Next, Run};
use super::state::{self, Status};
use super::timers::Timer;
use super::waiters::{Awaited, Waiter};
use crate::attendant::{Attendants, Duty};
use crate::error::{Failure, Result};
use crate::protocol::{Event, raw};
use crate::run::{
    Container, End, Plan, Remains, Spare, Started, Streams, join_cgroup, remove_trees,
};

/// One run of the container.
pub struct Life {
    pub(super) key: u64,
    pub container: Container,
    began: Instant,
    pub(super) attendants: Attendants,
    /// The program was executed.
    pub(super) executed: bool,
    pub(super) frozen: bool,
    /// Since when it has been asked to freeze.
    pub(super) freezing: Option<Instant>,
}

impl Life {
    /// How long the run has lasted.
    pub fn lasted(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Monitor<'_> {
    pub fn start(&mut self, request: Request, plan: MonitorPlan) -> Result<()> {
        if self.plan.is_some() {
            return Err(Failure::kind("start the container", "protocol").detail("started before"));
        }
        plan.config()?;
        self.state.follow(state::last(&plan.state));
        let log = plan.log.clone();
        let cgroups = plan.cgroups.clone();
        self.plan = Some(plan);
        self.waiters.push(Waiter {
            request,
            awaited: Awaited::Start,
        });
        let opened = cgroups
            .iter()
            .try_for_each(|directory| join_cgroup(directory))
            .and_then(|()| log.map(Log::open).transpose());
        match opened {
            Ok(log) => {
                self.relay.log = log;
                self.begin_life();
            }
            Err(failure) => self.start_failed(raw(&failure)),
        }
        Ok(())
    }

    pub fn running(&self) -> Result<&Life> {
        let running = self.life.as_ref().filter(|life| life.executed);
        running.ok_or_else(|| Failure::kind("find the container's program", "not-running"))
    }

    pub fn is_paused(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.frozen)
    }

    pub fn begin_life(&mut self) {
        if let Err(failure) = self.try_begin() {
            self.start_failed(raw(&failure));
        }
    }

    fn try_begin(&mut self) -> Result<()> {
        let Some(plan) = &self.plan else {
            return Ok(());
        };
        let config = plan.config()?;
        let plan = Plan::new(
            self.container.clone(),
            config,
            self.filters,
            self.host.rootless,
        )?;
        let spare = Spare {
            ports: self.remains.take_ports(),
            ..Spare::default()
        };
        let mut container = match Container::start(plan, self.host, spare) {
            Ok(container) => container,
            Err(failed) => {
                let (failure, remains) = *failed;
                self.remains = remains;
                return Err(failure);
            }
        };
        let key = self.next_key();
        let watched = self
            .poller
            .add(container.channel(), Token::Channel(key))
            .and_then(|()| self.poller.add(container.pidfd(), Token::Exit(key)))
            .and_then(|()| match container.take_streams() {
                Some(streams) => self.open_streams(streams),
                None => Ok(()),
            });
        if let Err(failure) = watched {
            self.remains = container.abandon();
            return Err(failure);
        }
        self.life = Some(Life {
            key,
            container,
            began: Instant::now(),
            attendants: Attendants::default(),
            executed: false,
            frozen: false,
            freezing: None,
        });
        Ok(())
    }

    /// Keeps the far ends; with the near ones open, no end would ever be seen.
    fn open_streams(&mut self, Streams([stdin, stdout, stderr]): Streams) -> Result<()> {
        let stdin = stdin.map(|pipe| pipe.write);
        let [stdout, stderr] = [stdout, stderr].map(|pipe| pipe.map(|pipe| pipe.read));
        let relay = &mut self.relay;
        relay.open(&self.poller, STDIN, None, stdin, None)?;
        relay.open(&self.poller, STDOUT, stdout, None, Some(Source::Stdout))?;
        relay.open(&self.poller, STDERR, stderr, None, Some(Source::Stderr))
    }

    pub fn hear_container(&mut self, key: u64) {
        let Some(life) = self.life.as_mut().filter(|life| life.key == key) else {
            return;
        };
        if !life.container.hear() {
            self.poller.remove(life.container.channel());
        }
        for (duty, new) in life.container.take_attendants() {
            let asked = Token::Asked(key, duty);
            life.attendants.watch(duty, new, &self.poller, asked);
        }
        self.open_terminal_of_container();
        if let Some(life) = &mut self.life {
            if let Started::Yes { warnings } = life.container.started() {
                self.started(&warnings);
            }
        }
    }

    pub fn attend(&mut self, key: u64, duty: Duty) {
        if let Some(life) = self.life.as_mut().filter(|life| life.key == key) {
            let end = Token::Served(key, duty);
            life.attendants.serve(duty, &self.poller, end);
        }
    }

    pub fn attended(&mut self, key: u64, duty: Duty) {
        if let Some(life) = self.life.as_mut().filter(|life| life.key == key) {
            let asked = Token::Asked(key, duty);
            life.attendants.served(duty, &self.poller, asked);
        }
    }

    fn open_terminal_of_container(&mut self) {
        let Some(life) = &mut self.life else {
            return;
        };
        if let Some(master) = life.container.take_terminal() {
            let opened = master.try_clone().is_ok_and(|input| {
                let (output, input) = (Some(master), Some(input));
                let source = Some(Source::Stdout);
                self.relay
                    .open(&self.poller, TERMINAL, output, input, source)
                    .is_ok()
            });
            if !opened {
                life.container.kill_all();
            }
        }
    }

    fn started(&mut self, warnings: &RawValue) {
        let Some(life) = &mut self.life else {
            return;
        };
        life.executed = true;
        let pid = life.container.pid().as_raw_nonzero().get();
        let state = &mut self.state;
        if !std::mem::replace(&mut self.has_run, true) {
            // Those were of a run that an earlier monitor saw.
            state.exit_code = None;
            state.signal = None;
            state.oom_killed = false;
        }
        state.pid = pid;
        state.started_at = Some(clock::now());
        state.error = None;
        if state.status != Status::Stopping {
            state.status = Status::Running;
        }
        self.begin_checks();
        self.tell_state();
        let ok = raw(&json!({ "pid": pid, "warnings": warnings }));
        self.answer_waiters(Awaited::Start, &Ok(ok));
        self.change_postponed();
    }

    /// Pid 1 has ended.
    pub fn end_life(&mut self, key: u64) {
        if self.life.as_ref().is_none_or(|life| life.key != key) {
            return;
        }
        self.end_execs();
        let Some(life) = &mut self.life else {
            return;
        };
        let end = life.container.end();
        self.open_terminal_of_container();
        let Some(life) = &mut self.life else {
            return;
        };
        let mut failure = None;
        if !life.executed {
            match life.container.started_at_last() {
                Started::Yes { warnings } => self.started(&warnings),
                Started::No { failure: why } => failure = Some(why),
                Started::NotYet => {}
            }
        }
        self.timers.clear(Timer::Kill);
        self.timers.clear(Timer::Freeze);
        self.fail_waiters(Awaited::Frozen, "not-running");
        let Some(mut life) = self.life.take() else {
            return;
        };
        self.poller.remove(life.container.channel());
        self.poller.remove(life.container.pidfd());
        std::mem::take(&mut life.attendants).close(&self.poller);
        let lasted = life.lasted();
        let alone = life.container.ends_with_pid_1();
        self.remains = life.container.into_remains().0;
        if !alone {
            // Others may live on, and hold the pipes.
            self.remains.dismantle();
        }
        for stream in CONTAINERS {
            self.relay.drain(&self.poller, stream);
        }
        match failure {
            Some(failure) => self.start_failed(failure),
            None => self.ended(&end, lasted),
        }
    }

    fn ended(&mut self, End { status, oom_killed }: &End, lasted: Duration) {
        let state = &mut self.state;
        state.pid = 0;
        state.finished_at = Some(clock::now());
        state.exit_code = status.code;
        state.signal = status.signal;
        state.oom_killed = *oom_killed;
        let failed = status.code != Some(0);
        self.settle(Some(Run { failed, lasted }));
    }

    /// The program was not executed.
    fn start_failed(&mut self, failure: Box<RawValue>) {
        let first = !self.has_run && self.state.restart_count == 0;
        self.state.pid = 0;
        self.state.error = Some(failure.clone());
        self.answer_waiters(Awaited::Start, &Err(failure));
        if first {
            // It is as it was before, but for the reason.
            if self.state.started_at.is_some() {
                self.state.status = Status::Exited;
            }
            self.end();
        } else {
            self.state.finished_at = Some(clock::now());
            self.settle(Some(Run {
                failed: true,
                lasted: Duration::ZERO,
            }));
        }
    }

    /// After a run, or in place of the next one: again, or the end.
    pub(super) fn settle(&mut self, run: Option<Run>) {
        let Some(plan) = &self.plan else {
            return;
        };
        let asked = std::mem::take(&mut self.again);
        let free = !self.state.stopped && !self.terminating;
        let next = match run {
            Some(run) if free => restart::next(&plan.restart, self.history, run),
            _ => Next::End,
        };
        let after = match next {
            _ if asked && !self.terminating => Some(Duration::ZERO),
            Next::Restart { after, history } => {
                self.history = history;
                self.state.restart_count = history.restarts;
                Some(after)
            }
            Next::End => None,
        };
        let Some(after) = after else {
            self.state.status = Status::Exited;
            return self.end();
        };
        self.state.status = Status::Restarting;
        self.tell_state();
        self.answer_waiters(Awaited::End, &Ok(raw(&self.state)));
        // What was limited and counted is so anew for the next run.
        self.remains.dismantle();
        self.change_postponed();
        self.timers.set(Timer::Restart, after);
    }

    /// The container has ended for good: tells so, removes what the plan names, and lets the connections go.
    pub(super) fn end(&mut self) {
        // Who hears that it has ended may remove its networks.
        let mut errors = self.remains.leave_networks();
        self.tell_state();
        self.answer_waiters(Awaited::End, &Ok(raw(&self.state)));
        for stream in CONTAINERS {
            self.relay.finish(&self.poller, stream);
        }
        self.fail_waiters(Awaited::Start, "cancelled");
        self.flush();
        errors.extend(self.remains.dismantle());
        if let Some(plan) = &self.plan {
            errors.extend(remove_trees(&plan.remove.marker));
        }
        let removes = self.plan.as_ref().is_some_and(|plan| plan.remove.at_exit);
        if let Some(plan) = self.plan.as_ref().filter(|_| removes) {
            errors.extend(self.remains.remove_trees(&plan.remove.trees));
            if let Some(journal) = &plan.journal {
                journal.tell_removed(&self.container);
            }
        }
        self.remains = Remains::default();
        let (container, errors) = (self.container.clone(), raw(&errors));
        let (container, errors) = (container.as_str(), &*errors);
        self.tell_watchers(match removes {
            true => Event::Removed { container, errors },
            false => Event::Ended { container, errors },
        });
        // From here on the next monitor may come.
        if let Some(door) = self.door.take() {
            self.poller.remove(&door);
        }
        self.over = true;
        self.change_postponed();
    }

    /// The lifeline has ended: so does the container, with everything it has left.
    pub fn perish(&mut self) {
        self.kill_processes();
        self.end_execs();
        if let Some(life) = self.life.take() {
            life.attendants.close(&self.poller);
            self.remains = life.container.abandon();
        }
        self.remains.leave_networks();
        self.remains.dismantle();
        if let Some(plan) = &self.plan {
            self.remains.remove_trees(&plan.remove.trees);
            if let Some(journal) = &plan.journal {
                journal.tell_removed(&self.container);
            }
        }
        // With the socket and the lock, where these are still there.
        self.door = None;
    }

    /// A transition: kept, told to the journal and to all who watch.
    pub fn tell_state(&mut self) {
        self.state.version += 1;
        self.state.log = self.relay.log.as_ref().and_then(|log| log.lost.clone());
        let state = raw(&self.state);
        if let Some(plan) = &self.plan {
            // Without room on the disk the container goes on; the next transition is written as a whole again.
            let _ = state::write(&plan.state, &state);
            if let Some(journal) = &plan.journal {
                let brief = raw(&self.state.in_brief());
                journal.tell_state(&self.container, self.told.as_deref(), &brief);
                self.told = Some(brief);
            }
        }
        let container = self.container.clone();
        self.tell_watchers(Event::State {
            container: &container,
            state: &state,
        });
    }
}
