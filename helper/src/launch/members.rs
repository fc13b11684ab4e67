//! The part of the launcher that is about sockets for Node, and about the members of networks that they are made in.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use serde::Deserialize;
use serde_json::json;

use super::dial::{Dial, dial};
use super::handles::HandleKind;
use super::launcher::{Launcher, Purpose};
use super::poller::Token;
use super::worker::{Worker, send};
use crate::error::{Failure, Result};
use crate::net::{Membership, join_network, listen};
use crate::protocol::{Report, raw};
use crate::run::hand_over;
use crate::sys;

/// A request for a socket, and the number under which it travels.
#[derive(Deserialize)]
pub struct Connect {
    socket: u64,
    #[serde(flatten)]
    dial: Dial,
}

#[derive(Deserialize)]
pub struct Join {
    member: String,
    #[serde(flatten)]
    membership: Membership,
}

#[derive(Deserialize)]
pub struct Listen {
    socket: u64,
    member: String,
    listen: SocketAddr,
}

#[derive(Deserialize)]
pub struct Leave {
    member: String,
}

impl Launcher {
    pub fn connect_into(&mut self, request: u64, connect: &Connect) -> Result<()> {
        let worker = maker(&[], || dial(&connect.dial))?;
        let purpose = Purpose::Socket {
            request,
            number: connect.socket,
            kind: HandleKind::Connected,
        };
        self.watch_worker(worker, purpose)
    }

    pub fn join_network(&mut self, request: u64, join: Join) -> Result<()> {
        let worker = maker(&[], || join_network(&join.membership))?;
        let purpose = Purpose::Member {
            request,
            member: join.member,
        };
        self.watch_worker(worker, purpose)
    }

    pub fn listen_in(&mut self, request: u64, args: &Listen) -> Result<()> {
        let Some(namespace) = self.members.get(&args.member) else {
            return Err(Failure::kind("listen in a network", "protocol").detail("no such member"));
        };
        let worker = maker(&[namespace.as_raw_fd()], || listen(namespace, args.listen))?;
        let purpose = Purpose::Socket {
            request,
            number: args.socket,
            kind: HandleKind::Listening,
        };
        self.watch_worker(worker, purpose)
    }

    /// Sockets in it go on until Node closes them.
    pub fn leave_network(&mut self, leave: &Leave) {
        self.members.remove(&leave.member);
    }

    /// The descriptor that a worker was there to make.
    pub fn made(&mut self, purpose: Purpose, made: Option<OwnedFd>) {
        match (purpose, made) {
            (Purpose::Member { request, member }, Some(namespace)) => {
                self.members.insert(member, namespace);
                self.answer_ok(request, &json!({}));
            }
            (
                Purpose::Socket {
                    request,
                    number,
                    kind,
                },
                Some(socket),
            ) => match &mut self.handles {
                Some(handles) => {
                    handles.give(number, kind, socket);
                    self.answer_ok(request, &json!({}));
                }
                None => {
                    let failure = Failure::kind("give Node a socket", "protocol")
                        .detail("this process was started without a channel");
                    self.answer_error(request, &failure);
                }
            },
            (purpose, _) => {
                if let Some(request) = purpose.request() {
                    self.answer_error(request, &Failure::kind("make a socket", "worker-died"));
                }
            }
        }
    }

    pub fn give_handles(&mut self) -> Result<()> {
        let Some(handles) = &mut self.handles else {
            return Ok(());
        };
        match handles.flush()? {
            Some(blocked) => self
                .poller
                .watch_writable(&*handles, Token::Handles, blocked),
            None => Ok(()),
        }
    }

    pub fn hear_handles(&mut self) {
        let Some(handles) = &self.handles else {
            return;
        };
        if !handles.drain() {
            self.poller.remove(handles);
            self.handles = None;
        }
    }
}

/// A worker that makes one descriptor.
fn maker(keep: &[RawFd], make: impl FnOnce() -> Result<OwnedFd>) -> Result<Worker> {
    Worker::fork(keep, |launcher| -> Infallible {
        match make() {
            Ok(made) => {
                let _ = hand_over(launcher, &Report::Ok(raw(&json!({}))), made.as_fd());
            }
            Err(failure) => send(launcher, &Report::of(Err::<(), _>(failure))),
        }
        sys::process::exit(0)
    })
}
