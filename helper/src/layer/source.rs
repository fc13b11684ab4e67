//! The blob file, which may still be growing.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, inotify};
use rustix::io::Errno;

use crate::error::{Result, Step};

/// A change is noticed by inotify. This bounds the wait where it cannot tell (no watches left, some file systems), and
/// until a failure elsewhere is noticed.
const LONGEST_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// What the other threads know of the reading one, and tell it.
#[derive(Default)]
pub struct Watch {
    /// Bytes read so far.
    pub read: AtomicU64,
    /// Nobody wants the rest.
    pub stop: AtomicBool,
}

/// Reads what is there. Where more is to come, `WouldBlock`: what has been read so far can go on its way, and then
/// `Growth` waits.
pub struct Source {
    file: OwnedFd,
    follow: bool,
    position: u64,
    size: u64,
    watch: Arc<Watch>,
}

/// Notices that the blob has changed.
pub struct Growth {
    changes: Option<OwnedFd>,
}

impl Source {
    /// `size` is what the blob will have in the end; with `follow` it may not have it yet.
    pub fn open(path: &Path, size: u64, follow: bool, watch: Arc<Watch>) -> Result<(Self, Growth)> {
        // Before the first look at the file's size, or a change could be missed.
        let changes = if follow { changes(path) } else { None };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).step_at("open the blob", path)?;
        let source = Source {
            file,
            follow,
            position: 0,
            size,
            watch,
        };
        Ok((source, Growth { changes }))
    }

    fn cut_short(&self) -> io::Error {
        let (position, size) = (self.position, self.size);
        let text = format!("the blob ends after {position} of {size} bytes");
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }
}

impl Growth {
    /// Until something has changed, or a while.
    pub fn wait(&self) -> io::Result<()> {
        let mut fds: Vec<_> = self
            .changes
            .iter()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&LONGEST_WAIT)) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
        if let Some(changes) = &self.changes {
            // That something happened is all there is to know.
            let _ = rustix::io::read(changes, &mut [0; 4096]);
        }
        Ok(())
    }
}

fn changes(path: &Path) -> Option<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let changes = inotify::init(flags).ok()?;
    // ATTRIB: the file was unlinked, so nobody will finish it under this name.
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::ATTRIB;
    inotify::add_watch(&changes, path, events).ok()?;
    Some(changes)
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.position;
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        loop {
            let length = match rustix::io::read(&self.file, &mut buffer[..most]) {
                Err(Errno::INTR) => continue,
                length => length?,
            };
            if length > 0 {
                self.position += length as u64;
                self.watch.read.store(self.position, Ordering::Relaxed);
                return Ok(length);
            }
            let stat = rustix::fs::fstat(&self.file)?;
            if stat.st_size as u64 > self.position {
                continue;
            }
            let abandoned = stat.st_nlink == 0 || (stat.st_size as u64) < self.position;
            if !self.follow || abandoned {
                return Err(self.cut_short());
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
}
