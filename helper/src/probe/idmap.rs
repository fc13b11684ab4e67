//! Mounts with the ids of another user namespace, on the engine's file system.

use std::os::fd::AsFd;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, waitpid,
};
use rustix::thread::UnshareFlags;

use super::attempt::{Fact, Scratch, attempt};
use crate::error::Result;
use crate::sys::namespace::unshare;
use crate::sys::probe::map_ids;
use crate::sys::process::clone;

pub fn idmapped_mounts(scratch: &Scratch) -> Result<Fact> {
    attempt(|| {
        unshare(UnshareFlags::NEWNS)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(fs::CWD, &scratch.path, flags)?; // by name: in the new namespace
        let namespace = UserNamespace::make()?;
        map_ids(tree.as_fd(), namespace.open()?.as_fd())
    })
}

/// A user namespace, held by a process that waits to be killed.
struct UserNamespace {
    holder: Pid,
}

impl UserNamespace {
    fn make() -> rustix::io::Result<Self> {
        let (ready, made) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (holder, _) = clone(0, None, || {
            let outcome = set_parent_process_death_signal(Some(Signal::KILL))
                .and_then(|()| unshare(UnshareFlags::NEWUSER));
            let code = outcome.err().map_or(0, Errno::raw_os_error);
            let _ = rustix::io::write(&made, &[code as u8]);
            loop {
                let _ = rustix::event::poll(&mut [], None);
            }
        })?;
        let namespace = UserNamespace { holder };
        drop(made);
        let mut code = [0];
        if rustix::io::read(&ready, &mut code)? == 0 {
            return Err(Errno::PERM); // it was killed
        }
        if code[0] != 0 {
            return Err(Errno::from_raw_os_error(i32::from(code[0])));
        }
        // A range, as a container's user namespace has; ids of our own namespace are the outer ones.
        for map in ["uid_map", "gid_map"] {
            namespace.write(map, b"0 0 1\n")?;
        }
        Ok(namespace)
    }

    fn open(&self) -> rustix::io::Result<std::os::fd::OwnedFd> {
        fs::open(
            self.path("ns/user"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    fn write(&self, file: &str, text: &[u8]) -> rustix::io::Result<()> {
        let file = fs::open(
            self.path(file),
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(&file, text).map(drop)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.holder.as_raw_nonzero())
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        let _ = kill_process(self.holder, Signal::KILL);
        let _ = waitpid(Some(self.holder), WaitOptions::empty());
    }
}
