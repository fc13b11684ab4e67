//! `--console-socket` and `--pidfd-socket`: the master of the terminal, and the process, for whoever listens there.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::invalid;
use crate::error::{Result, Step};

pub struct ConsoleSocket(UnixStream);

impl ConsoleSocket {
    /// Before anything is made. With a terminal and nobody in front of it there must be one; without, none.
    pub fn connect(path: Option<&str>, terminal: bool, detached: bool) -> Result<Option<Self>> {
        match (path, terminal) {
            (None, true) if detached => Err(invalid(
                "cannot allocate tty if the container is detached without --console-socket",
            )),
            (Some(_), false) => Err(invalid("--console-socket is for a process with a terminal")),
            (None, _) => Ok(None),
            (Some(path), true) => UnixStream::connect(path)
                .step_at("connect to the console socket", Path::new(path))
                .map(|stream| Some(ConsoleSocket(stream))),
        }
    }

    pub fn send(&self, master: &OwnedFd) -> Result<()> {
        send(&self.0, b"/dev/ptmx", master.as_fd()).step("send the terminal")
    }
}

/// `--pidfd-socket`: a descriptor of the process, which means it and no other for good.
pub struct PidfdSocket(UnixStream);

impl PidfdSocket {
    /// Before anything is made.
    pub fn connect(path: Option<&str>) -> Result<Option<Self>> {
        let connect = |path: &str| {
            UnixStream::connect(path).step_at("connect to the pidfd socket", Path::new(path))
        };
        Ok(path.map(connect).transpose()?.map(PidfdSocket))
    }

    /// `kind`: `standard` for the first process of a container, `setns` for another.
    pub fn send(&self, kind: &str, pidfd: BorrowedFd<'_>) -> Result<()> {
        send(&self.0, kind.as_bytes(), pidfd).step("send the pidfd")
    }
}

fn send(stream: &UnixStream, text: &[u8], descriptor: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(
        stream,
        &[IoSlice::new(text)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
}
