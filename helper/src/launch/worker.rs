//! A worker: a forked child that carries out one long operation and reports over a socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, WaitOptions};
use serde_json::Value;

use crate::error::{Failure, Result, Step};
use crate::protocol::{self, FrameReader, Report, raw};
use crate::run::take_over;
use crate::sys;

pub struct Worker {
    pid: Pid,
    socket: OwnedFd,
    reader: FrameReader,
    /// That came with reports.
    descriptors: VecDeque<OwnedFd>,
    cancelled: bool,
}

impl Worker {
    /// Forks a process that does `work` and nothing else. Of the launcher's descriptors it keeps only `keep`.
    pub fn spawn(
        keep: &[RawFd],
        work: impl FnOnce(&mut dyn FnMut(Value)) -> Result<Value>,
    ) -> Result<Worker> {
        Worker::fork(keep, |socket| {
            let result = work(&mut |progress| send(socket, &Report::Progress(raw(&progress))));
            send(socket, &Report::of(result));
            sys::process::exit(0)
        })
    }

    /// The same for a process that says over the socket itself what is to be said, one report at the end.
    pub fn fork(keep: &[RawFd], child: impl FnOnce(&OwnedFd) -> Infallible) -> Result<Worker> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .step("make a socket pair")?;
        let (pid, _) = sys::process::clone(0, None, || {
            if let Err(failure) = become_worker(&theirs, keep) {
                send(&theirs, &Report::of(Err::<(), _>(failure)));
                sys::process::exit(1);
            }
            child(&theirs)
        })
        .step("fork a worker")?;
        Ok(Worker {
            pid,
            socket: ours,
            reader: FrameReader::default(),
            descriptors: VecDeque::new(),
            cancelled: false,
        })
    }

    /// Takes in what has arrived; false when the worker has nothing more to say.
    pub fn receive(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        match take_over(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((length, descriptor)) if length > 0 => {
                self.descriptors.extend(descriptor);
                self.reader.push(&buffer[..length]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            _ => false,
        }
    }

    /// The next descriptor that came with a report, in the order of these.
    pub fn next_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    pub fn next(&mut self) -> Option<Report> {
        let frame = self.reader.next().ok()??;
        protocol::decode(frame).ok()
    }

    /// Says something to one that hears it; without waiting for one that does not.
    pub fn tell(&self, value: &impl serde::Serialize) -> Result<()> {
        const STEP: &str = "tell a worker";
        let bytes = protocol::encode(value);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(&self.socket, &bytes, flags).step(STEP)? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(Failure::new(STEP).errno(Errno::AGAIN)),
        }
    }

    /// Waits for the answer of a short one.
    pub fn wait(mut self) -> Result<()> {
        let report = loop {
            match self.next() {
                Some(Report::Progress(_)) => {}
                Some(report) => break report,
                None => {
                    let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
                    let _ = rustix::event::poll(&mut ready, None);
                    if !self.receive() {
                        return Err(self.reap());
                    }
                }
            }
        };
        self.reap();
        match report {
            Report::Error(failure) => Err(Failure::from_json(&failure)),
            _ => Ok(()),
        }
    }

    /// Ends one that is not wanted any more.
    pub fn kill(mut self) {
        self.cancel();
        self.reap();
    }

    /// Kills the worker and whatever it started.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        // The group exists only once the child has made it; the process itself can always be named.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
    }

    /// Reaps the worker; to be called when it has ended or has nothing more to do. Says why it ended without an answer.
    pub fn reap(self) -> Failure {
        // One that waits for more work learns that there is none.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        let status = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        if self.cancelled {
            return Failure::kind("cancel the operation", "cancelled");
        }
        let failure = Failure::kind("wait for the worker", "worker-died");
        match status {
            Ok(Some((_, status))) => match status.terminating_signal() {
                Some(signal) => failure.detail(format!("killed by signal {signal}")),
                None => failure.detail(format!("exit status {:?}", status.exit_status())),
            },
            _ => failure,
        }
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn become_worker(socket: &OwnedFd, keep: &[RawFd]) -> Result<()> {
    rustix::process::setpgid(None, None).step("make a process group")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("set the parent-death signal")?;
    let mut kept = keep.to_vec();
    kept.push(socket.as_raw_fd());
    sys::close::close_all_but(&kept).step("close inherited descriptors")?;
    sys::signal::set_mask(&[libc::SIGPIPE]);
    // A launcher that died before the signal was set: its end of the pair is closed, and sending would tell; so would
    // the first look at it.
    let mut peek = [0; 1];
    match rustix::net::recv(socket, &mut peek, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((0, _)) => sys::process::exit(1),
        _ => Ok(()),
    }
}

/// Sends a report; a launcher that is gone ends the worker.
pub fn send(socket: &OwnedFd, report: &Report) {
    let bytes = protocol::encode(report);
    let mut sent = 0;
    while sent < bytes.len() {
        match rustix::net::send(socket, &bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(length) => sent += length,
            Err(Errno::INTR) => {}
            Err(_) => sys::process::exit(1),
        }
    }
}
