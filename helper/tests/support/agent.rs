//! Who answers seccomp's user notifications, as an agent of a container engine does.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

/// `SECCOMP_IOCTL_NOTIF_RECV`, `SECCOMP_IOCTL_NOTIF_SEND`
const RECEIVE: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
const SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;

pub struct Agent {
    socket: UnixListener,
}

/// What the container did with the listener that it has handed over.
pub struct Answered {
    /// `containerProcessState`
    pub message: Value,
    /// Numbers of the system calls.
    pub calls: Vec<i32>,
}

impl Agent {
    pub fn new(path: &Path) -> Agent {
        Agent {
            socket: UnixListener::bind(path).unwrap(),
        }
    }

    /// Lets every call of one program go on, but for `refused`, until nobody is under its filter any more.
    pub fn answer(&self, refused: i64, errno: i32) -> Answered {
        let (connection, _) = self.socket.accept().unwrap();
        let (message, listener) = receive(&connection);
        let mut calls = Vec::new();
        while let Some(notification) = next(&listener) {
            calls.push(notification.data.nr);
            let refused = i64::from(notification.data.nr) == refused;
            let mut response = libc::seccomp_notif_resp {
                id: notification.id,
                val: 0,
                error: if refused { -errno } else { 0 },
                flags: match refused {
                    true => 0,
                    false => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
                },
            };
            // Nobody waits for it any more when the program was killed.
            unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
        }
        Answered { message, calls }
    }
}

fn receive(connection: &UnixStream) -> (Value, OwnedFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(connection, slices, &mut ancillary, RecvFlags::empty()).unwrap();
    let listener = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    let message = serde_json::from_slice(&bytes[..received.bytes]).unwrap();
    (message, listener.unwrap())
}

fn next(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    loop {
        let mut poll = libc::pollfd {
            fd: listener.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        assert!(unsafe { libc::poll(&raw mut poll, 1, -1) } > 0);
        if poll.revents & libc::POLLIN == 0 {
            return None;
        }
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        match unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut notification) } {
            0 => return Some(notification),
            // The program was killed meanwhile.
            _ => continue,
        }
    }
}
