//! The launcher: one small single-threaded process per Engine, which forks everything else.
//!
//! It waits for requests on descriptor 3 and for its children, and never for anything else: what may block runs in a
//! forked worker. When the socket closes, whatever the reason, it ends what it owns and exits.

mod containers;
mod dial;
mod handles;
mod launcher;
mod locks;
mod maker;
mod members;
mod mkdirs;
mod monitors;
mod operations;
mod poller;
mod remover;
mod sealed;
mod spares;
mod standbys;
mod user_namespace;
mod worker;

use std::io::Write;
use std::os::fd::OwnedFd;

use crate::error::{Failure, Result, Step};
use crate::sys;
use handles::Handles;
use launcher::Launcher;

pub use locks::{LockFile, LockMode};
pub use sealed::ensure_sealed;
pub use worker::{Worker, send as report};

/// Where Node puts the socket.
const SOCKET: i32 = 3;

/// Runs the launcher; the process ends with it.
pub fn launch() -> ! {
    match start().and_then(Launcher::run) {
        Ok(()) => sys::process::exit(0),
        Err(failure) => {
            complain(&failure);
            sys::process::exit(1);
        }
    }
}

/// Says something where nobody may be listening any more; `eprintln!` would panic then.
fn complain(failure: &Failure) {
    let _ = writeln!(std::io::stderr(), "keelson-helper: {failure}");
}

fn start() -> Result<Launcher> {
    sealed::ensure_sealed()?;
    let socket = take_socket()?;
    let handles = Handles::take()?;
    // Out of the terminal's reach: an interrupt is for Node to act on. It fails only for a leader of a process group,
    // which needs nothing.
    let _ = rustix::process::setsid();
    sys::signal::reset_dispositions();
    let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    // SIGPIPE stays blocked instead of ignored, because an ignored signal would be inherited by every program.
    sys::signal::set_mask(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE]);
    let signals = sys::signal::signalfd(&signals).step("make a signalfd")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    Launcher::new(socket, handles, signals)
}

fn take_socket() -> Result<OwnedFd> {
    let socket = sys::process::adopt(SOCKET).ok_or_else(|| {
        Failure::kind("take descriptor 3", "protocol")
            .detail("no socket there; Keelson starts this program")
    })?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).step("mark the socket")?;
    Ok(socket)
}
