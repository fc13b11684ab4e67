//! `--console-socket`: the master of the terminal for whoever listens there.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
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
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let masters = [master.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&masters));
        let name = [IoSlice::new(b"/dev/ptmx")];
        sendmsg(&self.0, &name, &mut ancillary, SendFlags::NOSIGNAL)
            .step("send the terminal")
            .map(drop)
    }
}
