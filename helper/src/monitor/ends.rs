//! Asking a container to end, and seeing to it: by its signal, after its time by SIGKILL.

use std::time::Duration;

use super::monitor::Monitor;
use super::plan::StopPlan;
use super::requests::{Request, Stop};
use super::state::Status;
use super::timers::Timer;
use super::waiters::{Awaited, Waiter};
use crate::error::{Failure, Result};
use crate::protocol::raw;

impl Monitor<'_> {
    /// One that was never asked to start has nothing to kill: it ends, and lets go those who are attached.
    pub fn kill(&mut self, request: Request, stop: bool) -> Result<()> {
        if self.plan.is_none() && stop {
            self.answer(request, Ok(raw(&self.state)));
            self.end();
            return Ok(());
        }
        if self.ask_for_end(request, stop)? {
            self.kill_processes();
        }
        Ok(())
    }

    pub fn stop(&mut self, request: Request, stop: &Stop) -> Result<()> {
        let plan = self.stop_plan(stop);
        if self.ask_for_end(request, true)? {
            self.begin_to_stop(plan);
        }
        Ok(())
    }

    pub fn restart(&mut self, request: Request, stop: &Stop) -> Result<()> {
        if self.life.is_none() && self.state.status != Status::Restarting {
            return Err(Failure::kind("restart the container", "not-running"));
        }
        let plan = self.stop_plan(stop);
        self.state.stopped = false;
        self.again = self.life.is_some();
        self.waiters.push(Waiter {
            request,
            awaited: Awaited::Start,
        });
        match self.life {
            Some(_) => self.begin_to_stop(plan),
            None => self.timers.set(Timer::Restart, Duration::ZERO),
        }
        Ok(())
    }

    /// Whether there is something to be ended; else the request has had its answer.
    fn ask_for_end(&mut self, request: Request, stop: bool) -> Result<bool> {
        if self.plan.is_none() {
            return Err(Failure::kind("stop the container", "not-running"));
        }
        if stop && !self.over {
            self.state.stopped = true;
            // Whoever wanted it to start again is refused.
            self.again = false;
            self.fail_waiters(Awaited::Start, "cancelled");
        }
        if self.life.is_some() {
            self.await_end(request);
            return Ok(true);
        }
        if stop && self.state.status == Status::Restarting {
            self.timers.clear(Timer::Restart);
            self.await_end(request);
            self.settle(None);
        } else {
            self.answer(request, Ok(raw(&self.state)));
        }
        Ok(false)
    }

    pub fn begin_to_stop(&mut self, plan: StopPlan) {
        let Some(life) = &mut self.life else {
            return;
        };
        let patience = plan.patience();
        if patience == Some(Duration::ZERO) {
            self.kill_processes();
        } else {
            let _ = life.container.signal(plan.signal);
            if std::mem::take(&mut life.frozen) || life.freezing.take().is_some() {
                let _ = life.container.freeze(false);
            }
            self.fail_waiters(Awaited::Frozen, "cancelled");
            self.timers.clear(Timer::Freeze);
            if let Some(patience) = patience {
                self.timers.set(Timer::Kill, patience);
            }
        }
        if self.state.status != Status::Created {
            self.state.status = Status::Stopping;
            self.tell_state();
        }
    }

    /// SIGKILL to every process; a frozen one dies of it only when it thaws.
    pub fn kill_processes(&mut self) {
        if let Some(life) = &mut self.life {
            life.container.kill_all();
            life.freezing = None;
            if std::mem::take(&mut life.frozen) || self.timers.is_set(Timer::Freeze) {
                let _ = life.container.freeze(false);
            }
        }
        self.timers.clear(Timer::Freeze);
        self.fail_waiters(Awaited::Frozen, "cancelled");
    }

    /// A detached container is given its time to stop, as if it had been asked; but it counts as not asked, so that its
    /// policy applies when the host is up again.
    pub fn terminate(&mut self) {
        self.terminating = true;
        let plan = self.stop_plan(&Stop::default());
        match self.life {
            Some(_) => self.begin_to_stop(plan),
            None if self.state.status == Status::Restarting => {
                self.timers.clear(Timer::Restart);
                self.settle(None);
            }
            None => self.over = true,
        }
    }
}
