//! Descriptors that travel over a socket, one with each message.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::protocol::{self, Report};

pub fn send(channel: impl AsFd, report: &Report, fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    send_bytes(channel, &protocol::encode(report), fd)
}

pub fn send_bytes(channel: impl AsFd, bytes: &[u8], fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let slices = [IoSlice::new(bytes)];
    let mut sent = sendmsg(&channel, &slices, &mut ancillary, SendFlags::NOSIGNAL)?;
    while sent < bytes.len() {
        sent += rustix::net::send(&channel, &bytes[sent..], SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Fills the buffer once; 0 bytes are the end.
pub fn receive(
    channel: impl AsFd,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(buffer)];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&channel, slices, &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            received => {
                let bytes = received?.bytes;
                let fd = ancillary.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
                    _ => None,
                });
                return Ok((bytes, fd));
            }
        }
    }
}
