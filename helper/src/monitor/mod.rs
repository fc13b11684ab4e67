//! A container's monitor: one small single-threaded process that starts it, watches it, writes its log, and is asked
//! about it over a socket of its own. It decides nothing: what is to happen reached it as a plan.
//!
//! It is forked from the launcher without exec. A bound one ends, with its container, when its lifeline does; a detached
//! one when its container has.

mod attachment;
mod checks;
mod clock;
mod door;
mod ends;
mod execs;
mod health;
mod journal;
mod lifecycle;
mod log;
#[expect(clippy::module_inception, reason = "the struct, and its loop")]
mod monitor;
mod networks;
mod pause;
mod plan;
mod relay;
mod requests;
mod restart;
mod state;
mod timers;
mod update;
mod waiters;

pub use clock::now;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use serde_json::json;

use crate::error::{Result, Step};
use crate::launch::report;
use crate::protocol::Report;
use crate::run::{Filters, Host};
use crate::sys;
use door::Door;
use monitor::Monitor;

/// The launcher's operation `monitor`.
#[derive(Deserialize)]
pub struct Setup {
    pub container: String,
    /// Holds the socket and the lock.
    pub directory: PathBuf,
    /// It ends with the launcher, and its container with it.
    pub bound: bool,
}

/// Called in a process forked for it, which forks the monitor and ends, so that the monitor is nobody's child.
/// Over `socket` it is reported that the monitor listens, or why it does not.
pub fn detach(
    setup: &Setup,
    socket: &OwnedFd,
    lifeline: &OwnedFd,
    host: &Host,
    filters: &mut Filters,
) -> Infallible {
    let forked = sys::process::fork(|| run(setup, socket, lifeline, host, filters));
    match forked.step("fork the monitor") {
        Ok(_) => sys::process::exit(0),
        Err(failure) => {
            report(socket, &Report::of(Err::<(), _>(failure)));
            sys::process::exit(1)
        }
    }
}

fn run(
    setup: &Setup,
    socket: &OwnedFd,
    lifeline: &OwnedFd,
    host: &Host,
    filters: &mut Filters,
) -> Infallible {
    let monitor = settle_in()
        .and_then(|()| Door::open(&setup.directory))
        .and_then(|door| Monitor::new(setup, door, lifeline, host, filters));
    let monitor = match monitor {
        Ok(monitor) => monitor,
        Err(failure) => {
            report(socket, &Report::of(Err::<(), _>(failure)));
            sys::process::exit(1)
        }
    };
    report(
        socket,
        &Report::of(Ok(json!({ "pid": std::process::id() }))),
    );
    // The launcher's end is closed in answer to this, and no other descriptor of the launcher's is left.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
    let code = match monitor.run() {
        Ok(()) => 0,
        Err(_) => 1,
    };
    sys::process::exit(code)
}

/// Out of the launcher's session, terminal and standard streams.
fn settle_in() -> Result<()> {
    rustix::process::setsid().step("make a session")?;
    let _ = rustix::thread::set_name(c"keelson-monitor");
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty()).step("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).step("leave stdin")?;
    rustix::stdio::dup2_stdout(&null).step("leave stdout")?;
    rustix::stdio::dup2_stderr(&null).step("leave stderr")?;
    // Whatever the launcher was started in must not be kept busy.
    rustix::process::chdir("/").step("leave the working directory")
}
