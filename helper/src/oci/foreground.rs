//! A program that the runtime waits for: signals are passed on, and a terminal is connected with the caller's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, OutputModes, Termios};

use crate::error::{Result, Step};
use crate::run::{Container, End, Exec};
use crate::sys;

/// A shell's way to say that a signal ended a program.
const SIGNALLED: i32 = 128;

/// What the runtime waits for.
pub trait Child {
    fn pidfd(&self) -> BorrowedFd<'_>;
    fn signal(&self, signal: i32) -> Result<()>;
    fn end(&mut self) -> End;
}

impl Child for Container {
    fn pidfd(&self) -> BorrowedFd<'_> {
        Container::pidfd(self)
    }
    fn signal(&self, signal: i32) -> Result<()> {
        Container::signal(self, signal)
    }
    fn end(&mut self) -> End {
        Container::end(self)
    }
}

impl Child for Exec {
    fn pidfd(&self) -> BorrowedFd<'_> {
        Exec::pidfd(self)
    }
    fn signal(&self, signal: i32) -> Result<()> {
        Exec::signal(self, signal)
    }
    fn end(&mut self) -> End {
        Exec::end(self)
    }
}

/// Until it ends; its exit code.
pub fn attend(mut child: impl Child, terminal: Option<OwnedFd>) -> Result<i32> {
    let passed = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
    ];
    sys::signal::set_mask(&passed);
    let signals = sys::signal::signalfd(&passed).step("make a signalfd")?;
    let _raw = terminal.as_ref().map(|_| RawMode::enter());
    if let Some(master) = &terminal {
        resize(master);
    }
    let mut input_open = terminal.is_some();
    loop {
        let mut watched = vec![
            (Source::Child, child.pidfd()),
            (Source::Signal, signals.as_fd()),
        ];
        if let Some(master) = &terminal {
            watched.push((Source::Terminal, master.as_fd()));
            if input_open {
                watched.push((Source::Input, rustix::stdio::stdin()));
            }
        }
        let mut ready: Vec<_> = watched
            .iter()
            .map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            polled => polled.step("wait for the program")?,
        };
        let ready: Vec<_> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        let ready: Vec<_> = watched
            .iter()
            .zip(ready)
            .filter_map(|((source, _), ready)| ready.then_some(*source))
            .collect();
        if let Some(master) = terminal
            .as_ref()
            .filter(|_| ready.contains(&Source::Terminal))
        {
            copy(master.as_fd(), rustix::stdio::stdout());
        }
        if let Some(master) = terminal.as_ref().filter(|_| ready.contains(&Source::Input)) {
            input_open = copy(rustix::stdio::stdin(), master.as_fd());
        }
        if ready.contains(&Source::Signal) {
            match (sys::signal::read(&signals), &terminal) {
                (Some(libc::SIGWINCH), Some(master)) => resize(master),
                (Some(signal), _) => {
                    let _ = child.signal(signal);
                }
                (None, _) => {}
            }
        }
        if ready.contains(&Source::Child) {
            if let Some(master) = &terminal {
                drain(master);
            }
            let status = child.end().status;
            return Ok(status
                .code
                .or(status.signal.map(|signal| SIGNALLED + signal))
                .unwrap_or(1));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Child,
    Signal,
    Terminal,
    Input,
}

/// One portion; false at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 16384];
    let Ok(length) = rustix::io::read(from, &mut buffer) else {
        return false;
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    length > 0
}

/// What the program wrote last.
fn drain(master: &OwnedFd) {
    loop {
        let mut ready = [PollFd::new(master, PollFlags::IN)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut ready, Some(&now)) {
            Ok(1) if copy(master.as_fd(), rustix::stdio::stdout()) => {}
            _ => return,
        }
    }
}

/// To that of the terminal in which the runtime was called.
pub fn resize(master: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// The caller's terminal without a line discipline of its own, until this is dropped.
struct RawMode(Option<Termios>);

impl RawMode {
    fn enter() -> Self {
        let Ok(before) = rustix::termios::tcgetattr(rustix::stdio::stdin()) else {
            return RawMode(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        // The program's terminal leaves the ends of lines to this one.
        raw.output_modes.insert(OutputModes::OPOST);
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &raw);
        RawMode(Some(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let stdin = rustix::stdio::stdin();
            let _ = rustix::termios::tcsetattr(stdin, OptionalActions::Flush, before);
        }
    }
}
