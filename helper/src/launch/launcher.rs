//! The loop: requests in, answers and events out.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::containers::{Farewell, Running};
use super::handles::{HandleKind, Handles};
use super::locks::{LockFile, Locks};
use super::members::Leave;
use super::mkdirs::mkdirs;
use super::operations;
use super::poller::{Poller, Token};
use super::spares::Spares;
use super::user_namespace::{self, UserNamespace};
use super::worker::Worker;
use crate::connection::Connection;
use crate::error::{Failure, Result};
use crate::protocol::{Envelope, Frame, PROTOCOL_VERSION, Report, decode, raw};
use crate::run::{Filters, Host, Remains, Streams, join_cgroup};

pub struct Launcher {
    pub(super) poller: Poller,
    pub(super) connection: Connection,
    /// Until Node hangs up.
    pub(super) handles: Option<Handles>,
    /// Network namespaces that sockets for Node are made in.
    pub(super) members: HashMap<String, OwnedFd>,
    /// Kept open so that it stays in the poller.
    _signals: OwnedFd,
    /// Set by `hello`, after which the namespaces are those that containers are made in.
    pub(super) host: Option<Host>,
    pub(super) filters: Filters,
    pub(super) containers: HashMap<u64, Running>,
    /// Standard streams of containers that have ended before Node opened its own.
    pub(super) unreleased: HashMap<String, Streams>,
    locks: Locks,
    pub(super) workers: HashMap<u64, (Worker, Purpose)>,
    pub(super) lifelines: HashMap<u64, OwnedFd>,
    /// Without work.
    pub(super) remover: Option<Worker>,
    pub(super) spares: Spares,
    last_key: u64,
}

/// What a worker's answer is for.
pub enum Purpose {
    /// Relayed to Node as it is.
    Request(u64),
    /// The lock that the worker waits for.
    Lock {
        request: u64,
        lock: LockFile,
        file: OwnedFd,
    },
    /// A monitor that is coming up, and the other end of its lifeline.
    Monitor { request: u64, lifeline: OwnedFd },
    /// A socket for Node.
    Socket {
        request: u64,
        number: u64,
        kind: HandleKind,
    },
    /// A network namespace that others are made in.
    Member { request: u64, member: String },
    /// The removal of what a container left. Its locks end with this.
    Remove {
        farewell: Farewell,
        _remains: Box<Remains>,
    },
}

#[derive(Deserialize)]
struct Hello {
    protocol: u32,
    user: Option<UserNamespace>,
    #[serde(default, rename = "cgroupLeave")]
    cgroup_leave: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(flatten)]
    file: LockFile,
    wait: bool,
}

#[derive(Deserialize)]
struct Unlock {
    lock: u64,
}

#[derive(Deserialize)]
struct Release {
    container: String,
}

#[derive(Deserialize)]
struct Cancel {
    request: u64,
}

impl Launcher {
    pub fn new(socket: OwnedFd, handles: Option<Handles>, signals: OwnedFd) -> Result<Self> {
        let poller = Poller::new()?;
        let connection = Connection::new(socket)?;
        poller.add(&connection, Token::Connection)?;
        poller.add(&signals, Token::Signal)?;
        if let Some(handles) = &handles {
            poller.add(handles, Token::Handles)?;
        }
        Ok(Launcher {
            poller,
            connection,
            handles,
            members: HashMap::new(),
            _signals: signals,
            host: None,
            filters: Filters::default(),
            containers: HashMap::new(),
            unreleased: HashMap::new(),
            locks: Locks::default(),
            workers: HashMap::new(),
            lifelines: HashMap::new(),
            remover: None,
            spares: Spares::default(),
            last_key: 0,
        })
    }

    /// Serves until Node's end of the socket closes or a signal asks to end; then ends what is owned.
    pub fn run(mut self) -> Result<()> {
        let served = self.serve();
        self.end();
        served
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            for (token, _) in self.poller.wait(None)? {
                match token {
                    Token::Connection => {
                        let open = self.connection.receive()?;
                        while let Some(frame) = self.connection.next()? {
                            self.request(&frame)?;
                        }
                        if !open {
                            return Ok(());
                        }
                    }
                    Token::Signal => return Ok(()),
                    Token::Worker(key) => self.hear_worker(key),
                    Token::Channel(key) => self.hear_container(key),
                    Token::Exit(key) => self.end_container(key),
                    Token::Lifeline(key) => self.end_lifeline(key),
                    Token::Maker => self.hear_maker(),
                    Token::Handles => self.hear_handles(),
                    Token::Asked(key, duty) => self.attend(key, duty),
                    Token::Served(key, duty) => self.attended(key, duty),
                }
            }
            let drained = self.connection.flush()?;
            self.poller
                .watch_writable(&self.connection, Token::Connection, !drained)?;
            self.give_handles()?;
        }
    }

    /// Only a malformed frame is an error here: it ends the connection. All others are answers.
    fn request(&mut self, frame: &[u8]) -> Result<()> {
        let Envelope { id, op } = decode(frame)?;
        let Some(id) = id else {
            return self.notice(&op, frame);
        };
        match self.begin(id, &op, frame) {
            Ok(Some(answer)) => self.answer_ok(id, &answer),
            Ok(None) => {}
            Err(failure) => self.answer_error(id, &failure),
        }
        Ok(())
    }

    /// A request that wants no answer.
    fn notice(&mut self, op: &str, frame: &[u8]) -> Result<()> {
        match op {
            "cancel" => self.cancel(decode::<Cancel>(frame)?.request),
            "release" => self.release_container(&decode::<Release>(frame)?.container),
            _ => {
                return Err(
                    Failure::kind("read a request", "protocol").detail(format!("{op} without id"))
                );
            }
        }
        Ok(())
    }

    /// Starts an operation. `None`: the answer will come later.
    fn begin(&mut self, id: u64, op: &str, frame: &[u8]) -> Result<Option<serde_json::Value>> {
        if self.host.is_none() && op != "hello" {
            return Err(
                Failure::kind("read a request", "protocol").detail("the first must be hello")
            );
        }
        match op {
            "hello" => return self.hello(&decode(frame)?).map(Some),
            "run" => {
                self.run_container(id, decode(frame)?)?;
                return Ok(None);
            }
            "standby" => return self.make_standby(id, decode(frame)?),
            "standby.run" => {
                self.run_standby(id, &decode(frame)?)?;
                return Ok(None);
            }
            "standby.remove" => return Ok(self.remove_standby(id, &decode(frame)?)),
            "monitor" => {
                self.start_monitor(id, &decode(frame)?)?;
                return Ok(None);
            }
            "spare" => {
                self.order_root(id, decode(frame)?)?;
                return Ok(None);
            }
            "net.connect" => {
                self.connect_into(id, &decode(frame)?)?;
                return Ok(None);
            }
            "network.join" => {
                self.join_network(id, decode(frame)?)?;
                return Ok(None);
            }
            "network.listen" => {
                self.listen_in(id, &decode(frame)?)?;
                return Ok(None);
            }
            "network.leave" => self.leave_network(&decode::<Leave>(frame)?),
            "kill" => self.kill_container(&decode(frame)?)?,
            "mkdirs" => mkdirs(&decode(frame)?)?,
            "lock" => return self.lock(id, decode(frame)?),
            "unlock" => self.locks.release(decode::<Unlock>(frame)?.lock)?,
            _ => {
                let Some(operation) = operations::find(op) else {
                    return Err(Failure::kind("read a request", "protocol")
                        .detail(format!("unknown operation {op}")));
                };
                let args = decode(frame)?;
                let locks = self.locks.descriptors();
                let worker = Worker::spawn(&locks, |progress| operation(args, progress))?;
                self.watch_worker(worker, Purpose::Request(id))?;
                return Ok(None);
            }
        }
        Ok(Some(json!({})))
    }

    fn hello(&mut self, hello: &Hello) -> Result<serde_json::Value> {
        if hello.protocol != PROTOCOL_VERSION {
            return Err(Failure::kind("agree on a protocol", "protocol")
                .detail(PROTOCOL_VERSION.to_string()));
        }
        if self.host.is_some() {
            return Err(Failure::kind("read a request", "protocol").detail("hello was said before"));
        }
        let mut host = Host::open()?;
        // From outside the user namespace, where the rights to move are.
        for directory in &hello.cgroup_leave {
            join_cgroup(directory)?;
        }
        if let Some(plan) = &hello.user {
            user_namespace::enter(plan, &host.procfs)?;
            host.rootless = true;
        }
        self.host = Some(host);
        Ok(json!({
            "protocol": PROTOCOL_VERSION,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
        }))
    }

    fn lock(&mut self, id: u64, args: Lock) -> Result<Option<serde_json::Value>> {
        match args.file.try_take() {
            Ok(file) => Ok(Some(json!({ "lock": self.locks.keep(file) }))),
            Err(failure) if failure.kind == Some("busy") && args.wait => {
                self.wait_for_lock(id, args.file)?;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn wait_for_lock(&mut self, request: u64, lock: LockFile) -> Result<()> {
        let file = lock.open()?;
        let worker = Worker::spawn(&[file.as_raw_fd()], |_| {
            lock.wait(&file)?;
            Ok(json!({}))
        })?;
        self.watch_worker(
            worker,
            Purpose::Lock {
                request,
                lock,
                file,
            },
        )
    }

    pub(super) fn watch_worker(&mut self, worker: Worker, purpose: Purpose) -> Result<()> {
        let key = self.next_key();
        if let Err(failure) = self.poller.add(&worker, Token::Worker(key)) {
            worker.kill();
            return Err(failure);
        }
        self.workers.insert(key, (worker, purpose));
        Ok(())
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    pub(super) fn host(&self) -> Result<&Host> {
        self.host
            .as_ref()
            .ok_or_else(|| Failure::kind("read a request", "protocol"))
    }

    fn cancel(&mut self, request: u64) {
        for (worker, purpose) in self.workers.values_mut() {
            if purpose.request() == Some(request) {
                worker.cancel();
            }
        }
        self.cancel_run(request);
    }

    fn hear_worker(&mut self, key: u64) {
        let Some((worker, purpose)) = self.workers.get_mut(&key) else {
            return;
        };
        let open = worker.receive();
        let mut last = None;
        while let Some(report) = worker.next() {
            match report {
                Report::Progress(progress) => {
                    // What only counts may be left out where Node does not keep up.
                    let spared = self.connection.congested() && counts(&progress);
                    if let (Some(id), false) = (purpose.request(), spared) {
                        self.connection.send(&Frame::Progress {
                            id,
                            progress: &progress,
                        });
                    }
                }
                report => last = Some(report),
            }
        }
        if last.is_none() && open {
            return;
        }
        let Some((mut worker, purpose)) = self.workers.remove(&key) else {
            return;
        };
        self.poller.remove(&worker);
        let made = worker.next_descriptor();
        let report = match last {
            Some(report) if open && matches!(purpose, Purpose::Remove { .. }) => {
                self.keep_remover(worker);
                report
            }
            last => {
                let died = worker.reap();
                last.unwrap_or_else(|| Report::Error(raw(&died)))
            }
        };
        self.conclude(purpose, report, made);
    }

    fn conclude(&mut self, purpose: Purpose, report: Report, made: Option<OwnedFd>) {
        match (purpose, report) {
            (Purpose::Remove { farewell, .. }, report) => self.say_farewell(farewell, &report),
            (
                Purpose::Lock {
                    request,
                    lock,
                    file,
                },
                Report::Ok(_),
            ) => {
                let taken = match lock.is_current(&file) {
                    Ok(true) => Ok(Some(json!({ "lock": self.locks.keep(file) }))),
                    Ok(false) => self.lock(
                        request,
                        Lock {
                            file: lock,
                            wait: true,
                        },
                    ),
                    Err(failure) => Err(failure),
                };
                match taken {
                    Ok(Some(answer)) => self.answer_ok(request, &answer),
                    Ok(None) => {}
                    Err(failure) => self.answer_error(request, &failure),
                }
            }
            (Purpose::Monitor { request, lifeline }, Report::Ok(ok)) => {
                self.monitor_started(request, lifeline, &ok);
            }
            (purpose @ (Purpose::Socket { .. } | Purpose::Member { .. }), Report::Ok(_)) => {
                self.made(purpose, made);
            }
            (
                Purpose::Request(id)
                | Purpose::Lock { request: id, .. }
                | Purpose::Monitor { request: id, .. }
                | Purpose::Socket { request: id, .. }
                | Purpose::Member { request: id, .. },
                report,
            ) => match report {
                Report::Ok(ok) | Report::Progress(ok) => {
                    self.connection.send(&Frame::Ok { id, ok: &ok })
                }
                Report::Error(error) => self.connection.send(&Frame::Error { id, error: &error }),
            },
        }
    }

    pub(super) fn answer_ok(&mut self, id: u64, answer: &impl Serialize) {
        self.connection.send(&Frame::Ok {
            id,
            ok: &raw(answer),
        });
    }

    pub(super) fn answer_error(&mut self, id: u64, failure: &Failure) {
        self.connection.send(&Frame::Error {
            id,
            error: &raw(failure),
        });
    }

    pub(super) fn answer_raw_error(&mut self, id: u64, error: &RawValue) {
        self.connection.send(&Frame::Error { id, error });
    }

    fn end(&mut self) {
        for (_, (mut worker, purpose)) in self.workers.drain() {
            if !matches!(purpose, Purpose::Remove { .. }) {
                worker.cancel();
            }
            worker.reap();
        }
        self.spares.end();
        self.cut_lifelines();
        if let Some(remover) = self.remover.take() {
            remover.kill();
        }
        self.end_containers();
        self.await_monitors();
    }
}

fn counts(progress: &RawValue) -> bool {
    progress.get().starts_with(r#"{"read":"#)
}

impl Purpose {
    pub(super) fn request(&self) -> Option<u64> {
        match self {
            Purpose::Request(id)
            | Purpose::Lock { request: id, .. }
            | Purpose::Monitor { request: id, .. }
            | Purpose::Socket { request: id, .. }
            | Purpose::Member { request: id, .. } => Some(*id),
            Purpose::Remove { .. } => None,
        }
    }
}
