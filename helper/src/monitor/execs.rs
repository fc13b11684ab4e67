//! Programs executed in the running container.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::monitor::{Monitor, Token};
use super::requests::Request;
use crate::error::{Failure, Result};
use crate::protocol::{Event, Frame, decode, raw};
use crate::run::{End, Exec, Started, Streams};

/// Streams of the relay that belong to the container come before.
const FIRST_STREAM: u64 = 16;

#[derive(Default)]
pub struct Execs {
    running: BTreeMap<u64, Running>,
    /// The streams of terminals, and the connection that asked for each; also of those that have ended, whose output may
    /// still be fetched.
    terminals: BTreeMap<String, (u64, u64)>,
    /// Standard streams of those that have ended before their client opened its own.
    unreleased: BTreeMap<String, (Streams, u64)>,
}

struct Running {
    exec: Exec,
    client: u64,
    /// Still to be answered.
    request: Option<u64>,
    /// Ends with the connection.
    bound: bool,
    terminal: bool,
}

#[derive(Deserialize)]
struct Asked {
    exec: String,
    bound: bool,
    process: AskedProcess,
}

#[derive(Deserialize)]
struct AskedProcess {
    #[serde(default)]
    terminal: bool,
}

#[derive(Deserialize)]
pub struct ExecSignal {
    exec: String,
    signal: Option<i32>,
    #[serde(default)]
    all: bool,
}

impl Monitor<'_> {
    pub fn exec(&mut self, (client, id): Request, frame: &[u8]) -> Result<()> {
        let asked: Asked = decode(frame)?;
        if self.execs.is_taken(&asked.exec) {
            return Err(Failure::kind("execute a program", "protocol").detail("this id is in use"));
        }
        if self.is_paused() {
            return Err(Failure::kind("execute a program", "paused"));
        }
        self.running()?;
        let Some(life) = &self.life else {
            return Ok(());
        };
        let exec = Exec::start(
            decode(frame)?,
            life.container.entry(),
            self.filters,
            self.host,
        )?;
        let key = self.next_key();
        let watched = self.poller.add(exec.channel(), Token::ExecChannel(key));
        if let Err(failure) =
            watched.and_then(|()| self.poller.add(exec.pidfd(), Token::ExecExit(key)))
        {
            exec.kill_all();
            self.leave(exec);
            return Err(failure);
        }
        let terminal = asked.process.terminal;
        if terminal {
            let stream = FIRST_STREAM + key;
            self.relay.is_last(stream);
            self.execs.terminals.insert(asked.exec, (stream, client));
        } else if let Some(client) = self.clients.get_mut(&client) {
            let [stdin, stdout, stderr] = exec.stdio();
            client.connection.send(&Frame::Event(Event::Stdio {
                container: &exec.id,
                pid: std::process::id() as i32,
                stdin,
                stdout,
                stderr,
            }));
        }
        self.execs.running.insert(
            key,
            Running {
                exec,
                client,
                request: Some(id),
                bound: asked.bound,
                terminal,
            },
        );
        Ok(())
    }

    pub fn signal_exec(&mut self, asked: &ExecSignal) -> Result<()> {
        let named = |running: &&Running| running.exec.id == asked.exec;
        let Some(running) = self.execs.running.values().find(named) else {
            return Err(Failure::kind("send a signal", "not-running"));
        };
        match asked.signal {
            _ if asked.all => running.exec.kill_all(),
            Some(signal) => running.exec.signal(signal)?,
            None => {
                return Err(
                    Failure::kind("send a signal", "protocol").detail("neither signal nor all")
                );
            }
        }
        Ok(())
    }

    /// The client has opened its ends.
    pub fn release_exec(&mut self, id: &str) {
        self.execs.unreleased.remove(id);
        let mut all = self.execs.running.values_mut();
        if let Some(running) = all.find(|running| running.exec.id == id) {
            running.exec.take_streams();
        }
    }

    pub fn terminal_of(&self, exec: &str) -> Result<u64> {
        match self.execs.terminals.get(exec) {
            Some((stream, _)) => Ok(*stream),
            None => Err(Failure::kind("find the terminal", "not-running")),
        }
    }

    pub fn hear_exec(&mut self, key: u64) {
        let Some(running) = self.execs.running.get_mut(&key) else {
            return;
        };
        if !running.exec.hear() {
            self.poller.remove(running.exec.channel());
        }
        self.open_terminal(key);
        if let Some(running) = self.execs.running.get_mut(&key) {
            if let Started::Yes { warnings } = running.exec.started() {
                let pid = running.exec.pid().as_raw_nonzero().get();
                if let Some(id) = running.request.take() {
                    let request = (running.client, id);
                    let ok = raw(&json!({ "pid": pid, "warnings": warnings }));
                    self.answer(request, Ok(ok));
                }
            }
        }
    }

    pub fn end_exec(&mut self, key: u64) {
        let Some(running) = self.execs.running.get_mut(&key) else {
            return;
        };
        let End { status, oom_killed } = running.exec.end();
        self.open_terminal(key);
        let Some(mut running) = self.execs.running.remove(&key) else {
            return;
        };
        self.poller.remove(running.exec.channel());
        self.poller.remove(running.exec.pidfd());
        let id = running.exec.id.clone();
        if let Some(streams) = running.exec.take_streams() {
            self.execs
                .unreleased
                .insert(id.clone(), (streams, running.client));
        }
        let mut failed = false;
        if let Some(request) = running.request {
            let request = (running.client, request);
            match running.exec.started_at_last() {
                Started::Yes { warnings } => {
                    let pid = running.exec.pid().as_raw_nonzero().get();
                    let ok = raw(&json!({ "pid": pid, "warnings": warnings }));
                    self.answer(request, Ok(ok));
                }
                Started::No { failure } => {
                    failed = true;
                    self.answer(request, Err(failure));
                }
                Started::NotYet => {}
            }
        }
        match self.clients.get_mut(&running.client) {
            Some(client) if !failed => {
                client.connection.send(&Frame::Event(Event::ExecExit {
                    container: &id,
                    code: status.code,
                    signal: status.signal,
                    oom_killed,
                }));
            }
            Some(_) => {}
            None => self.forget_exec(&id),
        }
        if failed && running.terminal {
            self.forget_exec(&id);
        }
        self.leave(running.exec);
    }

    /// A connection has closed.
    pub fn end_execs_of(&mut self, client: u64) {
        let mut ended: Vec<String> = Vec::new();
        for running in self.execs.running.values_mut() {
            if running.client == client {
                running.exec.take_streams();
                if running.bound {
                    running.exec.kill_all();
                }
            }
        }
        self.execs
            .unreleased
            .retain(|_, (_, asker)| *asker != client);
        for (id, (_, asker)) in &self.execs.terminals {
            let runs = self
                .execs
                .running
                .values()
                .any(|running| running.exec.id == *id);
            if *asker == client && !runs {
                ended.push(id.clone());
            }
        }
        for id in ended {
            self.forget_exec(&id);
        }
    }

    /// Kills all and waits for them. They may hold the end of the container's pid 1 up until they are reaped.
    pub fn end_execs(&mut self) {
        self.abandon_check();
        let keys: Vec<u64> = self.execs.running.keys().copied().collect();
        for running in self.execs.running.values() {
            running.exec.kill_all();
        }
        for key in keys {
            self.end_exec(key);
        }
    }

    fn open_terminal(&mut self, key: u64) {
        let Some(running) = self.execs.running.get_mut(&key) else {
            return;
        };
        if let Some(master) = running.exec.take_terminal() {
            let stream = FIRST_STREAM + key;
            let opened = master.try_clone().is_ok_and(|input| {
                let (output, input) = (Some(master), Some(input));
                self.relay
                    .open(&self.poller, stream, output, input, None)
                    .is_ok()
            });
            if !opened {
                running.exec.kill_all();
            }
        }
    }

    fn forget_exec(&mut self, id: &str) {
        self.execs.unreleased.remove(id);
        if let Some((stream, _)) = self.execs.terminals.remove(id) {
            self.relay.drain(&self.poller, stream);
            self.relay.finish(&self.poller, stream);
        }
    }

    pub(super) fn leave(&mut self, exec: Exec) {
        if let Some(life) = &mut self.life {
            exec.leave(&mut life.container);
        }
    }
}

impl Execs {
    fn is_taken(&self, id: &str) -> bool {
        let runs = self.running.values().any(|running| running.exec.id == id);
        runs || self.terminals.contains_key(id) || self.unreleased.contains_key(id)
    }
}
