//! A program that was started, as its parent sees it: a child, the channel to it, its standard streams.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::handover;
use super::standby::say_program;
use super::stdio::Streams;
use crate::error::{Failure, Result, Step};
use crate::names::Sockets;
use crate::protocol::{self, FrameReader, Report, raw};
use crate::sys;

pub struct Program {
    pub pid: Pid,
    pidfd: OwnedFd,
    channel: OwnedFd,
    reader: FrameReader,
    heard: Heard,
    /// Until Node has opened its own.
    streams: Option<Streams>,
}

/// What has arrived over the channel so far.
#[derive(Default)]
struct Heard {
    warnings: Option<Box<RawValue>>,
    failure: Option<Box<RawValue>>,
    closed: bool,
    /// The program runs, although the channel is still open: its pid 1 is the init, which keeps it.
    executed: bool,
    /// How the program ended, when pid 1 is the init.
    status: Option<Status>,
    /// It waits for the hooks of the runtime.
    prepared: bool,
    /// Descriptors whose message has not been read yet.
    rights: VecDeque<OwnedFd>,
    /// The master of its terminal.
    terminal: Option<OwnedFd>,
    /// Of its name service.
    names: Vec<OwnedFd>,
}

/// How a program ended: one of the two is set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Status {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// What the init says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Note {
    /// All is made, and the hooks of the runtime may run.
    Prepared,
    /// With one of the sockets of its name service: UDP, then TCP.
    Names,
    Executed,
    Ended(Status),
}

/// Whether the program was executed.
pub enum Started {
    NotYet,
    Yes { warnings: Box<RawValue> },
    No { failure: Box<RawValue> },
}

/// How a container, or a program executed in it, ended.
pub struct End {
    pub status: Status,
    pub oom_killed: bool,
}

impl Program {
    pub fn new((pid, pidfd): (Pid, OwnedFd), channel: OwnedFd, streams: Streams) -> Self {
        Program {
            pid,
            pidfd,
            channel,
            reader: FrameReader::default(),
            heard: Heard::default(),
            streams: Some(streams),
        }
    }

    pub fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Node's ends of the standard streams.
    pub fn stdio(&self) -> [Option<i32>; 3] {
        self.streams.as_ref().map_or([None; 3], Streams::far_ends)
    }

    /// Takes the streams out: whoever asked has them from now on.
    pub fn take_streams(&mut self) -> Option<Streams> {
        self.streams.take()
    }

    /// The master of its terminal, once; it arrives before the program is executed.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.heard.terminal.take()
    }

    /// The sockets of its name service, once; they arrive before the program is executed.
    pub fn take_names(&mut self) -> Option<Sockets> {
        match <[OwnedFd; 2]>::try_from(std::mem::take(&mut self.heard.names)) {
            Ok([udp, tcp]) => Some(Sockets::received(udp, tcp)),
            Err(some) => {
                self.heard.names = some;
                None
            }
        }
    }

    /// Gives the child the word to go on.
    pub fn say_go(&self) -> Result<()> {
        match rustix::net::send(&self.channel, b"!", SendFlags::NOSIGNAL) {
            // A child that has failed meanwhile is not there to hear it, and has said why.
            Err(errno) if errno != Errno::PIPE && errno != Errno::CONNRESET => {
                Err(errno).step("start the container")
            }
            _ => Ok(()),
        }
    }

    /// Tells the child, which waits for it, what to execute.
    pub fn name(&self, order: &[u8]) -> Result<()> {
        say_program(&self.channel, order)
    }

    /// Why it ends: its own last word, if it has one, comes later.
    pub fn fail(&mut self, failure: &Failure) {
        self.heard.failure = Some(raw(failure));
        let _ = self.signal(libc::SIGKILL);
    }

    /// Takes in what has arrived; false when nothing more will.
    pub fn hear(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match handover::receive(&self.channel, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, right)) if length > 0 => {
                    self.heard.rights.extend(right);
                    self.reader.push(&buffer[..length]);
                }
                Err(Errno::AGAIN) => break,
                _ => {
                    self.heard.closed = true;
                    break;
                }
            }
        }
        while let Ok(Some(frame)) = self.reader.next() {
            match protocol::decode(frame) {
                Ok(Report::Ok(warnings)) => {
                    self.heard.warnings = Some(warnings);
                    self.heard.terminal = self.heard.rights.pop_front();
                }
                Ok(Report::Error(failure)) => self.heard.failure = Some(failure),
                Ok(Report::Progress(note)) => match serde_json::from_str(note.get()) {
                    Ok(Note::Prepared) => self.heard.prepared = true,
                    Ok(Note::Names) => {
                        let right = self.heard.rights.pop_front();
                        self.heard.names.extend(right);
                    }
                    Ok(Note::Executed) => self.heard.executed = true,
                    Ok(Note::Ended(status)) => self.heard.status = Some(status),
                    Err(_) => {}
                },
                Err(_) => {}
            }
        }
        !self.heard.closed
    }

    /// Whether the program was executed, as far as known while the child lives: it says that it is about to, and then
    /// either says why it could not or closes the channel by executing.
    pub fn started(&mut self) -> Started {
        let done = self.heard.closed || self.heard.executed;
        match (&self.heard.failure, done) {
            (None, true) => match self.heard.warnings.take() {
                Some(warnings) => Started::Yes { warnings },
                None => Started::NotYet,
            },
            _ => Started::NotYet,
        }
    }

    /// Once: the child waits for the hooks of the runtime.
    pub fn take_prepared(&mut self) -> bool {
        std::mem::take(&mut self.heard.prepared)
    }

    /// Once: a deferred program could be executed now, and waits.
    pub fn take_ready(&mut self) -> Option<Box<RawValue>> {
        self.heard.warnings.take()
    }

    /// The same when the child has ended; nothing when it died without a word.
    pub fn started_at_last(&mut self) -> Option<Started> {
        match self.started() {
            Started::NotYet => {
                let failure = self.heard.failure.take()?;
                Some(Started::No { failure })
            }
            known => Some(known),
        }
    }

    /// Reaps the child. Call it when the pidfd says so; before, it waits.
    pub fn end(&mut self) -> Status {
        let status = wait(&self.pidfd);
        self.hear();
        self.heard.status.unwrap_or(status)
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::process::pidfd_send_signal(&self.pidfd, signal).step("send a signal")
    }
}

/// Waits for the end of a child, and reaps it.
pub fn wait(pidfd: &OwnedFd) -> Status {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return Status {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                };
            }
            Err(Errno::INTR) => {}
            _ => {
                return Status {
                    code: None,
                    signal: Some(libc::SIGKILL),
                };
            }
        }
    }
}
