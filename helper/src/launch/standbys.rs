//! The part of the launcher that is about containers made ahead of their time: each waits for its program, and is used once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::containers::{Run, stdio_of};
use super::launcher::Launcher;
use crate::error::Result;
use crate::protocol::Frame;
use crate::run::{BundleFile, ProgramOrder, Spare, standby_lost};

#[derive(Deserialize)]
pub struct RunStandby {
    container: String,
    program: ProgramOrder,
    #[serde(default)]
    files: Vec<BundleFile>,
}

#[derive(Deserialize)]
pub struct RemoveStandby {
    container: String,
}

impl Launcher {
    /// Answers when it is on its way. What goes wrong after that shows when it is asked for.
    pub fn make_standby(&mut self, request: u64, run: Run) -> Result<Option<Value>> {
        let mut plan = self.plan(run)?;
        plan.waits = true;
        let started = self.start_container(request, plan, Spare::default());
        Ok(started.map(|_| json!({})))
    }

    /// From now on it is a container like others. The answer comes when its program runs.
    pub fn run_standby(&mut self, request: u64, asked: &RunStandby) -> Result<()> {
        let running = self
            .key_of(&asked.container)
            .and_then(|key| self.containers.get_mut(&key))
            .filter(|running| running.container.waits())
            .ok_or_else(|| standby_lost("it has ended"))?;
        let named = running.container.say_program(&asked.program, &asked.files);
        if named.is_err() {
            running.container.kill_all();
            return named;
        }
        running.request = Some(request);
        let stdio = stdio_of(&running.container);
        self.connection.send(&Frame::Event(stdio));
        Ok(())
    }

    /// Answers when nothing is left of it.
    pub fn remove_standby(&mut self, request: u64, asked: &RemoveStandby) -> Option<Value> {
        let waiting = self
            .key_of(&asked.container)
            .and_then(|key| self.containers.get_mut(&key))
            .filter(|running| running.container.waits());
        let Some(running) = waiting else {
            return Some(json!({}));
        };
        running.removal = Some(request);
        running.container.kill_all();
        None
    }
}
