//! `kill`.

use std::ffi::OsString;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::arguments::{Arguments, Options};
use super::record::{Record, Status};
use super::{Runtime, invalid};
use crate::error::{Failure, Result, Step};
use crate::run::{cgroup_processes, kill_cgroups};
use crate::sys;

const OPTIONS: Options<'_> = Options {
    flags: &["all"],
    values: &[],
    short: &[('a', "all")],
    words: 1,
};

pub fn kill(runtime: &Runtime, words: Vec<OsString>) -> Result<i32> {
    let arguments = Arguments::parse(words, &OPTIONS)?;
    let (place, record) = runtime.store.load(arguments.id()?)?;
    let texts = arguments.texts()?;
    let signal = match texts.first() {
        Some(text) => {
            parse_signal(text).ok_or_else(|| invalid(format!("unknown signal {text:?}")))?
        }
        None => libc::SIGTERM,
    };
    if arguments.has("all") {
        signal_all(&record, signal);
        return Ok(0);
    }
    let status = place.status(&record);
    // Without a pid namespace others of its processes outlive the first, and nothing else ends them.
    if signal == libc::SIGKILL && !record.pid_namespace && status != Status::Creating {
        let directories = record.own_cgroups();
        if !cgroup_processes(&directories).is_empty() {
            kill_cgroups(&directories);
            return Ok(0);
        }
    }
    match status {
        Status::Stopped | Status::Creating => return Err(not_running()),
        _ => signal_init(&record, signal)?,
    }
    Ok(0)
}

pub fn signal_init(record: &Record, signal: i32) -> Result<()> {
    let pid = Pid::from_raw(record.pid).ok_or_else(not_running)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
    // Only now is it certain whose number that is.
    if !record.is_alive() {
        return Err(not_running());
    }
    sys::process::pidfd_send_signal(&pidfd, signal).step("send a signal")
}

fn signal_all(record: &Record, signal: i32) {
    for pid in cgroup_processes(&record.cgroups.directories()) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = sys::process::kill(pid, signal);
        }
    }
}

/// Engines know this by its words.
fn not_running() -> Failure {
    Failure::kind("send a signal", "state").detail("container not running")
}

fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        // Zero only asks whether it is there.
        return (0..=64).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return Some(libc::SIGRTMIN() + offset.parse::<i32>().ok()?).filter(|&n| n <= 64);
    }
    SIGNALS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

const SIGNALS: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        for (text, signal) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigrtmin+3", 37),
            ("0", 0),
        ] {
            assert_eq!(parse_signal(text), Some(signal), "{text}");
        }
        for text in ["", "-1", "65", "SIG", "nothing"] {
            assert_eq!(parse_signal(text), None, "{text}");
        }
    }
}
