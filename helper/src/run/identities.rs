//! User namespaces that nobody is in: they say which ids stand for which.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid,
};
use rustix::thread::UnshareFlags;

use super::config::IdMapping;
use super::container::id_map;
use crate::sys;

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
