//! Sockets of another network namespace.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::error::{Result, Step};
use crate::sys::namespace::{join, join_process};

/// Makes something in the network namespace of `process`. A socket stays in the one that it was made in, so nobody has
/// to stay there: this process is back when it returns.
pub fn inside<T>(process: BorrowedFd<'_>, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty())
        .step("open the own network namespace")?;
    join_process(process, UnshareFlags::NEWNET).step("enter the container's network")?;
    let made = make();
    if let Err(errno) = join(own, Some(LinkNameSpaceType::Network)) {
        lost(errno);
    }
    made
}

/// Whatever this process does next would be done to a container's network in the place of the host's.
fn lost(errno: Errno) -> ! {
    panic!("cannot return to the host's network: {errno}")
}
