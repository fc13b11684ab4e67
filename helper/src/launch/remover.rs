//! The remover: a worker that removes what containers leave, one after the other.
//!
//! Taking a v1 cgroup down waits for the kernel, taking mounts apart too, and a tree may be large: nothing for the
//! launcher. The process stays, because making one takes longer than most removals.

use std::convert::Infallible;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::worker::{Worker, send};
use crate::error::{Result, Step};
use crate::protocol::{self, FrameReader, Report};
use crate::run::Removal;
use crate::sys;

/// Forks one, which ends with its socket.
pub fn spawn() -> Result<Worker> {
    Worker::fork(&[], serve)
}

/// Hands one that is idle its next work. `mounts` is let go of there, before the removal. The report comes over the
/// worker's socket.
pub fn ask(worker: &Worker, removal: &Removal, mounts: Option<&OwnedFd>) -> Result<()> {
    let bytes = protocol::encode(removal);
    let fds: Vec<BorrowedFd> = mounts.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let step = "hand a removal over";
    let mut sent = sendmsg(
        worker,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .step(step)?;
    while sent < bytes.len() {
        sent += rustix::net::send(worker, &bytes[sent..], SendFlags::NOSIGNAL).step(step)?;
    }
    Ok(())
}

fn serve(socket: &OwnedFd) -> Infallible {
    let mut requests = FrameReader::default();
    loop {
        // The last to hold them: here the kernel takes the mounts apart.
        drop(receive(socket, &mut requests));
        while let Ok(Some(frame)) = requests.next() {
            let removed = protocol::decode(frame).map(|removal: Removal| removal.carry_out());
            send(socket, &Report::of(removed));
        }
    }
}

/// Waits for more of a request; when the launcher has let go of this process, it ends.
fn receive(socket: &OwnedFd, requests: &mut FrameReader) -> Option<OwnedFd> {
    let mut buffer = [0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    match recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Ok(received) if received.bytes > 0 => requests.push(&buffer[..received.bytes]),
        Err(Errno::INTR) => {}
        _ => sys::process::exit(0),
    }
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}
