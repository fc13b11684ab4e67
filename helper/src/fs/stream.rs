//! Pipes between Node and a worker. The worker makes one and tells its number; Node opens it anew through /proc.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde_json::{Value, json};

use crate::error::{Result, Step};

const STEP: &str = "make a pipe";
/// The least that a pipe can hold: one page, whatever its size.
const ONE_PAGE: usize = 4096;
const ROOMY: usize = 1 << 20;

/// The worker writes, Node reads.
pub struct Outlet {
    write: OwnedFd,
    /// Held until Node has its own: a pipe that nobody can read loses what is in it, and breaks.
    read: Option<OwnedFd>,
}

impl Outlet {
    pub fn offer(progress: &mut dyn FnMut(Value)) -> Result<Outlet> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).step(STEP)?;
        fcntl_setpipe_size(&write, ONE_PAGE).step(STEP)?;
        announce(&read, progress);
        Ok(Outlet {
            write,
            read: Some(read),
        })
    }

    /// Writes as much as fits into the only page. That there is room again says that Node has read it.
    fn first(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = write(&self.write, &buffer[..buffer.len().min(ONE_PAGE)])?;
        loop {
            match poll(&mut [PollFd::new(&self.write, PollFlags::OUT)], None) {
                Err(Errno::INTR) => continue,
                ready => {
                    ready?;
                    break;
                }
            }
        }
        self.read = None;
        // An unprivileged user's pipes may be at their limit: then it stays small.
        let _ = fcntl_setpipe_size(&self.write, ROOMY);
        Ok(written)
    }
}

impl Write for Outlet {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.read {
            Some(_) if !buffer.is_empty() => self.first(buffer),
            _ => write(&self.write, buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Node writes, at least one byte, and the worker reads.
pub struct Inlet {
    read: OwnedFd,
    /// Held until Node has its own: without a writer there would be nothing to wait for.
    write: Option<OwnedFd>,
}

impl Inlet {
    pub fn offer(progress: &mut dyn FnMut(Value)) -> Result<Inlet> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).step(STEP)?;
        let _ = fcntl_setpipe_size(&write, ROOMY);
        announce(&write, progress);
        Ok(Inlet {
            read,
            write: Some(write),
        })
    }
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.read, &mut *buffer) {
                Err(Errno::INTR) => continue,
                length => {
                    let length = length?;
                    self.write = None;
                    return Ok(length);
                }
            }
        }
    }
}

/// To wait for what Node writes.
impl AsFd for Inlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

fn announce(end: &OwnedFd, progress: &mut dyn FnMut(Value)) {
    let (pid, fd) = (std::process::id(), end.as_raw_fd());
    progress(json!({ "stream": { "pid": pid, "fd": fd } }));
}

fn write(pipe: &OwnedFd, buffer: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(pipe, buffer) {
            Err(Errno::INTR) => continue,
            written => return Ok(written?),
        }
    }
}
