//! Freezing all of the container's processes, and letting them go on.

use std::time::{Duration, Instant};

use serde_json::json;

use super::monitor::Monitor;
use super::requests::Request;
use super::state::Status;
use super::timers::Timer;
use super::waiters::{Awaited, Waiter};
use crate::error::{Failure, Result};
use crate::protocol::raw;

/// Freezing takes this long at most, in steps that grow up to the longest.
const FREEZING: Duration = Duration::from_secs(10);
const FREEZING_STEP: Duration = Duration::from_millis(1);

impl Monitor<'_> {
    pub fn pause(&mut self, request: Request) -> Result<()> {
        self.running()?;
        if self.state.status != Status::Running {
            return Err(Failure::kind("pause the container", "not-running"));
        }
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        life.container.freeze(true)?;
        self.waiters.push(Waiter {
            request,
            awaited: Awaited::Frozen,
        });
        life.freezing = Some(Instant::now());
        self.look_at_freezer();
        Ok(())
    }

    /// The kernel freezes each process where it can stand still; that may take a while.
    pub fn look_at_freezer(&mut self) {
        let Some(life) = &mut self.life else {
            return;
        };
        let Some(since) = life.freezing else {
            return;
        };
        match life.container.is_frozen() {
            Ok(true) => {
                life.frozen = true;
                life.freezing = None;
                self.end_checks();
                self.state.status = Status::Paused;
                self.tell_state();
                self.answer_waiters(Awaited::Frozen, &Ok(raw(&json!({}))));
            }
            Ok(false) if since.elapsed() < FREEZING => {
                self.timers
                    .set(Timer::Freeze, FREEZING_STEP.max(since.elapsed() / 4));
            }
            result => {
                life.freezing = None;
                let _ = life.container.freeze(false);
                let late = Failure::kind("pause the container", "busy");
                let failure = result.err().unwrap_or(late);
                self.answer_waiters(Awaited::Frozen, &Err(raw(&failure)));
            }
        }
    }

    pub fn resume(&mut self) -> Result<()> {
        let Some(life) = self.life.as_mut().filter(|life| life.frozen) else {
            return Err(Failure::kind("resume the container", "not-running"));
        };
        life.container.freeze(false)?;
        life.frozen = false;
        self.state.status = Status::Running;
        self.wait_for_check();
        self.tell_state();
        Ok(())
    }
}
