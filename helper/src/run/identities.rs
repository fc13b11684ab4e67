//! User namespaces that nobody is in: they say which ids stand for which.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions, set_dumpable_behavior,
    set_parent_process_death_signal, waitid,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::config::IdMapping;
use super::container::id_map;
use crate::error::{Failure, Result, Step};
use crate::sys;
use crate::sys::namespace::join;

/// A namespace with these mappings. It takes a process to make one; that has ended when this returns.
pub fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> rustix::io::Result<OwnedFd> {
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC)?;
    let flags = UnshareFlags::NEWUSER.bits() as u64;
    let (pid, pidfd) = sys::process::clone(flags, None, || {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // Until the parent closes its end, this process's copy of which must not hold it open.
        let _ = sys::close::close_all_but(&[std::os::fd::AsRawFd::as_raw_fd(&wait)]);
        let _ = rustix::io::read(&wait, &mut [0; 1]);
        sys::process::exit(0)
    })?;
    let namespace = map(pid, uids, gids);
    drop(go);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    namespace
}

/// The mappings that a namespace has, in this process's ids.
pub fn mappings_of(namespace: OwnedFd) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    const STEP: &str = "read the mappings of a user namespace";
    let (entered, says) = pipe_with(PipeFlags::CLOEXEC).step(STEP)?;
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).step(STEP)?;
    let (pid, pidfd) = sys::process::clone(0, None, || {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // Who is in that namespace already shall not look into this process.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let errno = match join(namespace, Some(LinkNameSpaceType::User)) {
            Ok(()) => 0,
            Err(errno) => errno.raw_os_error(),
        };
        let _ = rustix::io::write(&says, &errno.to_ne_bytes());
        let keep = std::os::fd::AsRawFd::as_raw_fd(&wait);
        let _ = sys::close::close_all_but(&[keep]);
        let _ = rustix::io::read(&wait, &mut [0; 1]);
        sys::process::exit(0)
    })
    .step(STEP)?;
    drop(says);
    let mut errno = [0; 4];
    let read = rustix::io::read(&entered, &mut errno).step(STEP);
    let mappings = read.and_then(|_| match i32::from_ne_bytes(errno) {
        0 => Ok((read_map(pid, "uid_map")?, read_map(pid, "gid_map")?)),
        errno => Err(Failure::new("join a user namespace").errno(Errno::from_raw_os_error(errno))),
    });
    drop(go);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    mappings
}

fn read_map(pid: Pid, file: &str) -> Result<Vec<IdMapping>> {
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(&path).step_at("read mappings", &path)?;
    let mapping = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some(IdMapping {
            container_id: numbers.next()??,
            host_id: numbers.next()??,
            size: numbers.next()??,
        })
    };
    let mappings = text.lines().map(mapping).collect::<Option<Vec<_>>>();
    mappings.ok_or_else(|| Failure::new("read mappings").path(&path).detail(&text))
}

fn map(pid: Pid, uids: &[IdMapping], gids: &[IdMapping]) -> rustix::io::Result<OwnedFd> {
    let path = |file: &str| format!("/proc/{}/{file}", pid.as_raw_nonzero());
    for (file, mappings) in [("uid_map", uids), ("gid_map", gids)] {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let map = rustix::fs::openat(CWD, path(file), flags, Mode::empty())?;
        rustix::io::write(&map, id_map(mappings).as_bytes())?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path("ns/user"), flags, Mode::empty())
}
