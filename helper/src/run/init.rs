//! `init: true`: pid 1 of the container. It starts the program, passes signals on to it, reaps what is orphaned, and ends
//! with it.
//!
//! It is the helper executed anew (its sealed copy), so that none of the launcher's memory is in the container, with
//! the program's user, capabilities and filter already in force.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::command::Command;
use super::program::{Note, Status};
use crate::error::{Result, Step};
use crate::protocol::{Report, encode, raw};
use crate::sys;

/// A shell's way to say that a signal ended a program.
const SIGNALLED: i32 = 128;

/// Runs pid 1; `arguments` are those behind the word `init`, as `Command::execute_under_init` wrote them.
pub fn init(arguments: impl Iterator<Item = std::ffi::OsString>) -> ! {
    let mut arguments = arguments.filter_map(|argument| CString::new(argument.into_vec()).ok());
    let Some(channel) = number(&mut arguments).and_then(sys::process::adopt) else {
        eprintln!("keelson-helper: started by Keelson, not by hand");
        sys::process::exit(2);
    };
    let code = match start(arguments, &channel) {
        Ok(program) => attend(program, &channel),
        Err(failure) => {
            send(&channel, &Report::of(Err::<(), _>(failure)));
            1
        }
    };
    sys::process::exit(code)
}

fn start(mut arguments: impl Iterator<Item = CString>, channel: &OwnedFd) -> Result<Pid> {
    let _ = rustix::thread::set_name(c"keelson-init");
    rustix::io::fcntl_setfd(channel, rustix::io::FdFlags::CLOEXEC).step("mark the channel")?;
    let candidates = number(&mut arguments).unwrap_or(0);
    let candidates = arguments.by_ref().take(candidates as usize).collect();
    let command = Command::of(candidates, arguments.collect(), environment());
    sys::signal::reset_dispositions();
    // Before the program exists: what arrives from now on waits to be passed on.
    sys::signal::block_asynchronous();
    let (executed, failed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make a pipe")?;
    let pid = sys::process::fork(|| {
        // A group of its own, so that the program can signal its group without hitting pid 1.
        let _ = rustix::process::setpgid(None, None);
        // Where there is a terminal, that group is the one in its foreground. SIGTTOU is still blocked.
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
        sys::signal::set_mask(&[]);
        send(channel, &Report::of(Err::<(), _>(command.execute())));
        let _ = rustix::io::write(&failed, b"!");
        sys::process::exit(1)
    })
    .step("fork the program")?;
    drop(failed);
    // Ends without a word when the program was executed, which closes the other end.
    let mut word = [0];
    if let Ok(0) = rustix::io::read(&executed, &mut word) {
        send(channel, &Report::Progress(raw(&Note::Executed)));
    }
    Ok(pid)
}

/// Until the program ends; the kernel then kills what is left in the namespace.
fn attend(program: Pid, channel: &OwnedFd) -> i32 {
    loop {
        let signal = sys::signal::wait_asynchronous();
        if signal != libc::SIGCHLD {
            let _ = sys::process::kill(program, signal);
            continue;
        }
        while let Some((pid, status)) = reap() {
            if pid == program {
                let status = Status {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                };
                send(channel, &Report::Progress(raw(&Note::Ended(status))));
                return status
                    .code
                    .or(status.signal.map(|signal| SIGNALLED + signal))
                    .unwrap_or(1);
            }
        }
    }
}

fn reap() -> Option<(Pid, WaitStatus)> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(Errno::INTR) => {}
            reaped => return reaped.ok().flatten(),
        }
    }
}

fn number(arguments: &mut impl Iterator<Item = CString>) -> Option<i32> {
    arguments.next()?.to_str().ok()?.parse().ok()
}

fn environment() -> Vec<CString> {
    std::env::vars_os()
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        })
        .collect()
}

fn send(channel: &OwnedFd, report: &Report) {
    let _ = rustix::net::send(channel, &encode(report), SendFlags::NOSIGNAL);
}
