//! What a monitor is asked over its connections.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::attachment::Attachment;
use super::monitor::Monitor;
use super::plan::{RestartPlan, StopPlan};
use super::relay;
use super::waiters::{Awaited, Waiter};
use crate::error::{Failure, Result};
use crate::protocol::{Envelope, decode, raw};
use crate::run::ConsoleSize;

#[derive(Deserialize)]
struct Signal {
    signal: i32,
}

#[derive(Deserialize)]
struct Kill {
    stop: bool,
}

#[derive(Default, Deserialize)]
pub struct Stop {
    signal: Option<i32>,
    timeout: Option<i64>,
}

#[derive(Deserialize)]
struct Update {
    resources: Option<Value>,
    restart: Option<RestartPlan>,
}

#[derive(Deserialize)]
struct Resize {
    columns: u16,
    rows: u16,
    exec: Option<String>,
}

#[derive(Deserialize)]
struct Attach {
    stream: String,
    exec: Option<String>,
}

#[derive(Deserialize)]
struct Release {
    exec: String,
}

/// Of a request: the connection it came on, and its id there.
pub type Request = (u64, u64);

impl Monitor<'_> {
    /// Only a malformed frame is an error here: it ends the connection. All others are answers.
    pub fn request(&mut self, client: u64, frame: &[u8]) -> Result<()> {
        let Envelope { id, op } = decode(frame)?;
        let Some(id) = id else {
            if op == "release" {
                self.release_exec(&decode::<Release>(frame)?.exec);
                return Ok(());
            }
            return Err(Failure::kind("read a request", "protocol").detail(op));
        };
        match self.begin((client, id), &op, frame) {
            Ok(Some(answer)) => self.answer((client, id), Ok(answer)),
            Ok(None) => {}
            Err(failure) => self.answer_failure((client, id), &failure),
        }
        Ok(())
    }

    /// Carries an operation out. `None`: the answer was given, or will be.
    fn begin(&mut self, request: Request, op: &str, frame: &[u8]) -> Result<Option<Box<RawValue>>> {
        match op {
            "start" => self.start(request, decode(frame)?)?,
            "state" => return Ok(Some(raw(&self.state))),
            "watch" => {
                if let Some(client) = self.clients.get_mut(&request.0) {
                    client.watches = true;
                }
                return Ok(Some(raw(&self.state)));
            }
            "signal" => {
                self.running()?
                    .container
                    .signal(decode::<Signal>(frame)?.signal)?;
                return Ok(Some(raw(&json!({}))));
            }
            "kill" => self.kill(request, decode::<Kill>(frame)?.stop)?,
            "stop" => self.stop(request, &decode(frame)?)?,
            "restart" => self.restart(request, &decode(frame)?)?,
            "pause" => self.pause(request)?,
            "resume" => {
                self.resume()?;
                return Ok(Some(raw(&json!({}))));
            }
            "update" => {
                let Update { resources, restart } = decode(frame)?;
                self.update(resources, restart)?;
                return Ok(Some(raw(&json!({}))));
            }
            "network" => self.change_networks(request, decode(frame)?),
            "resize" => {
                let Resize {
                    columns,
                    rows,
                    exec,
                } = decode(frame)?;
                let stream = match exec {
                    Some(exec) => self.terminal_of(&exec)?,
                    None => relay::TERMINAL,
                };
                let size = ConsoleSize {
                    width: columns,
                    height: rows,
                };
                self.relay.resize(stream, size)?;
                return Ok(Some(raw(&json!({}))));
            }
            "exec" => self.exec(request, frame)?,
            "exec-signal" => {
                self.signal_exec(&decode(frame)?)?;
                return Ok(Some(raw(&json!({}))));
            }
            "attach" => self.attach(request, &decode(frame)?)?,
            _ => {
                return Err(Failure::kind("read a request", "protocol")
                    .detail(format!("unknown operation {op}")));
            }
        }
        Ok(None)
    }

    /// The connection becomes one raw stream, which begins behind the answer.
    fn attach(&mut self, request: Request, attach: &Attach) -> Result<()> {
        let unknown = || Failure::kind("attach", "protocol").detail(attach.stream.clone());
        let (mut stream, direction) = relay::direction(&attach.stream).ok_or_else(unknown)?;
        if let Some(exec) = &attach.exec {
            if stream != relay::TERMINAL {
                return Err(unknown());
            }
            stream = self.terminal_of(exec)?;
        }
        self.answer(request, Ok(raw(&json!({}))));
        if let Some(client) = self.clients.remove(&request.0) {
            self.poller.remove(&client.connection);
            let (socket, rest, unsent) = client.connection.into_raw();
            let key = self.next_key();
            let attachment = Attachment::new(key, socket, stream, direction, unsent);
            self.relay.attach(&self.poller, key, attachment, &rest);
        }
        Ok(())
    }

    pub(super) fn await_end(&mut self, request: Request) {
        self.waiters.push(Waiter {
            request,
            awaited: Awaited::End,
        });
    }

    /// The plan, where the request does not say otherwise.
    pub(super) fn stop_plan(&self, stop: &Stop) -> StopPlan {
        let planned = self.plan.as_ref().map(|plan| plan.stop);
        let planned = planned.unwrap_or(StopPlan {
            signal: libc::SIGTERM,
            timeout: 0,
        });
        StopPlan {
            signal: stop.signal.unwrap_or(planned.signal),
            timeout: stop.timeout.unwrap_or(planned.timeout),
        }
    }
}
