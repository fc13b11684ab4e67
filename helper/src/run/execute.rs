//! The steps that every program takes, in a container that is being made and in one that runs already: away from the
//! parent, and at last execve.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Resource, Rlimit, Signal};

use super::deferred::Deferred;
use super::listener::Agent;
use super::process::PlannedProcess;
use super::root::Root;
use super::stdio::Streams;
use super::terminal::{self, Terminal};
use super::{Host, credentials, rlimits};
use crate::error::{Failure, Result, Step};
use crate::protocol::{self, Report};
use crate::sys;

/// Leaves the parent: its descriptors but for `keep`, its session, its keys, its life after death.
pub fn isolate(
    process: &PlannedProcess,
    streams: &Streams,
    channel: &OwnedFd,
    keep: &[RawFd],
) -> Result<()> {
    let mut all = keep.to_vec();
    all.extend(process.preserved());
    all.push(channel.as_raw_fd());
    let near = streams.near_ends().into_iter().flatten();
    all.extend(near.map(AsRawFd::as_raw_fd));
    sys::close::close_all_but(&all).step("close inherited descriptors")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("set the parent-death signal")?;
    rustix::process::setsid().step("make a session")?;
    match sys::keyring::join_new_session_keyring() {
        Err(errno) if errno != Errno::NOSYS => Err(errno).step("make a session keyring"),
        _ => Ok(()),
    }
}

/// What is written to the host's /proc for this process.
pub fn set_attributes(process: &PlannedProcess, host: &Host) -> Result<()> {
    set_oom_score(process, "self", host)?;
    set_labels(process, host)
}

/// In a user namespace nobody may lower it: the launcher does it for the process it has made.
pub fn set_oom_score(process: &PlannedProcess, of: &str, host: &Host) -> Result<()> {
    match process.oom_score_adj {
        Some(score) => host
            .procfs
            .write(&format!("{of}/oom_score_adj"), score.to_string().as_bytes()),
        None => Ok(()),
    }
}

/// For the program that will be executed; this process keeps its own labels until then.
pub fn set_labels(process: &PlannedProcess, host: &Host) -> Result<()> {
    if let Some(profile) = &process.apparmor {
        let value = format!("exec {profile}");
        let modern = host
            .procfs
            .write("thread-self/attr/apparmor/exec", value.as_bytes());
        match modern {
            // Before Linux 5.8 AppArmor has no directory of its own.
            Err(Failure {
                errno: Some(errno), ..
            }) if errno == Errno::NOENT.raw_os_error() => {
                host.procfs
                    .write("thread-self/attr/exec", value.as_bytes())?;
            }
            written => written?,
        }
    }
    if let Some(label) = &process.selinux {
        host.procfs
            .write("thread-self/attr/exec", label.as_bytes())?;
    }
    Ok(())
}

pub fn become_root() -> Result<()> {
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("become root of the user namespace")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("become root of the user namespace")
}

/// Resolved anew inside, without magic links, and looked at afterwards: a working directory that can be named from the
/// root is inside it (CVE-2024-21626).
pub fn enter_working_directory(root: &Root, path: &str) -> Result<()> {
    let directory = root
        .find(path)
        .step_at("enter the working directory", path)?;
    rustix::process::fchdir(&directory).step_at("enter the working directory", path)?;
    let name = rustix::process::getcwd(Vec::new()).step_at("enter the working directory", path)?;
    if name.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::new("enter the working directory")
            .path(path)
            .detail("outside of the root"))
    }
}

/// The root directory of this process.
pub fn open_root() -> Result<Root> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
        .step("open the root")
        .map(Root::new)
}

/// Becomes the program's user, with less and less rights; only execve comes after it. `keeps_channel` for the init, which
/// has more to say.
pub fn become_program(
    process: &PlannedProcess,
    terminal: Option<BorrowedFd<'_>>,
    channel: &OwnedFd,
    keeps_channel: bool,
    descriptors: Rlimit,
    agent: Option<Agent>,
) -> Result<()> {
    let warnings = prepare_program(process, channel, keeps_channel, descriptors)?;
    report_ready(terminal, channel, warnings)?;
    let confinement = credentials::assume(process)?;
    if process.inherited.is_some() {
        // A program of the caller's, who may go.
        rustix::process::set_parent_process_death_signal(None).step("outlive the parent")?;
        return confinement.confine(agent, channel);
    }
    // The kernel forgets this signal when the user changes, so again, and not earlier.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("set the parent-death signal")?;
    confinement.confine(agent, channel)?;
    outlive_nobody(channel)
}

/// The same for a program that waits: the parent hears that it could be executed, and may go. The filter comes last, for
/// it need not allow what the waiting takes.
pub fn become_program_later(
    process: &PlannedProcess,
    deferred: &Deferred,
    state: &serde_json::Value,
    notice: Option<Vec<u8>>,
    terminal: Option<Terminal>,
    channel: &OwnedFd,
    descriptors: Rlimit,
) -> Result<()> {
    let warnings = prepare_program(process, channel, false, descriptors)?;
    let confinement = credentials::assume(process)?;
    if process.command.is_some() {
        process.command.find()?;
    }
    rustix::process::set_parent_process_death_signal(None).step("outlive the parent")?;
    report_ready(
        terminal.as_ref().map(|terminal| terminal.master.as_fd()),
        channel,
        warnings,
    )?;
    // While it waits, it holds nothing but its standard streams.
    drop(terminal);
    let connection = deferred.wait_for_start(channel)?;
    if !process.command.is_some() {
        return Err(
            Failure::kind("start the container", "config-invalid").detail("process is not set")
        );
    }
    deferred.run_start_container_hooks(state)?;
    let agent = match (notice, connection) {
        (Some(notice), Some(connection)) => Some(Agent::new(connection, notice)),
        (Some(_), None) => {
            return Err(Failure::new("start the container")
                .detail("nobody to hand the seccomp listener to"));
        }
        (None, _) => None,
    };
    confinement.confine(agent, channel)
}

fn prepare_program(
    process: &PlannedProcess,
    channel: &OwnedFd,
    keeps_channel: bool,
    descriptors: Rlimit,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    rustix::process::setrlimit(Resource::Nofile, descriptors).step("restore RLIMIT_NOFILE")?;
    process.scheduling.apply()?;
    rlimits::apply(&process.rlimits, process.ulimit_clamp, &mut warnings)?;
    rustix::process::umask(process.umask);
    sys::close::close_all_on_exec(process.preserved().end as u32).step("mark descriptors")?;
    if keeps_channel {
        rustix::io::fcntl_setfd(channel, rustix::io::FdFlags::empty()).step("keep the channel")?;
    }
    sys::signal::set_mask(&[]);
    Ok(warnings)
}

fn report_ready(
    terminal: Option<BorrowedFd<'_>>,
    channel: &OwnedFd,
    warnings: Vec<String>,
) -> Result<()> {
    let report = Report::of(Ok(warnings));
    match terminal {
        Some(master) => terminal::send(channel, &report, master),
        None => {
            send(channel, &report);
            Ok(())
        }
    }
}

/// The parent-death signal was set after a change of user, perhaps too late: a parent that had died before would never be
/// missed.
fn outlive_nobody(channel: &OwnedFd) -> Result<()> {
    let mut peek = [0];
    match rustix::net::recv(channel, &mut peek, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((0, _)) => sys::process::exit(1),
        _ => Ok(()),
    }
}

pub fn send(channel: impl AsFd, report: &Report) {
    // Small, and the parent listens: it fits, or nobody is there.
    let _ = rustix::net::send(channel, &protocol::encode(report), SendFlags::NOSIGNAL);
}
