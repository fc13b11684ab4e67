//! Bytes between programs and those who attach to them. What a program writes is read once, goes to the log and to every
//! attachment, and is not read faster than the slowest of these takes it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::attachment::{Attachment, Direction};
use super::log::{Log, Source};
use super::monitor::{Poller, Token};
use crate::error::{Failure, Result, Step};
use crate::run::{ConsoleSize, set_terminal_size};

/// As much as a pipe holds.
const CHUNK: usize = 64 << 10;

pub const STDIN: u64 = 0;
pub const STDOUT: u64 = 1;
pub const STDERR: u64 = 2;
pub const TERMINAL: u64 = 3;
pub const CONTAINERS: [u64; 4] = [STDIN, STDOUT, STDERR, TERMINAL];

#[derive(Default)]
pub struct Relay {
    streams: BTreeMap<u64, Stream>,
    attachments: BTreeMap<u64, Attachment>,
    pub log: Option<Log>,
    /// Lines were lost that nobody has been told of.
    pub log_failed: bool,
    buffer: Vec<u8>,
}

/// One stream of a program; a terminal has both ways.
#[derive(Default)]
struct Stream {
    output: Option<OwnedFd>,
    /// Whether the output is watched.
    reading: bool,
    source: Option<Source>,
    input: Option<OwnedFd>,
    /// Bytes for the program that it has not taken.
    unwritten: Vec<u8>,
    /// The input is to be closed when they are.
    input_ended: bool,
    /// Both ways are one terminal.
    terminal: bool,
    /// Nothing will come after the end of the output.
    last: bool,
    /// Nothing will come any more.
    over: bool,
}

impl Relay {
    /// `rest` has arrived behind the request to attach.
    pub fn attach(&mut self, poller: &Poller, key: u64, mut attachment: Attachment, rest: &[u8]) {
        attachment.flush();
        let id = attachment.stream;
        let gives = attachment.gives();
        self.attachments.insert(key, attachment);
        if gives && !rest.is_empty() {
            self.streams.entry(id).or_default().unwritten.extend(rest);
            self.write(poller, id);
        }
        self.settle(poller, id);
    }

    /// A program's stream: what it writes and what it reads, as far as there is such a descriptor. With neither, those
    /// attached to it hear of its end at once.
    pub fn open(
        &mut self,
        poller: &Poller,
        id: u64,
        output: Option<OwnedFd>,
        input: Option<OwnedFd>,
        source: Option<Source>,
    ) -> Result<()> {
        for fd in output.iter().chain(&input) {
            rustix::io::ioctl_fionbio(fd, true).step("make a stream non-blocking")?;
        }
        let over = output.is_none() && input.is_none();
        let stream = self.streams.entry(id).or_default();
        stream.terminal = output.is_some() && input.is_some();
        stream.source = source;
        stream.over = over;
        stream.output = output;
        if let Some(input) = input {
            // For nothing but the news that nobody reads it any more.
            poller.add_for(&input, Token::Input(id), EventFlags::empty())?;
            stream.input = Some(input);
            self.write(poller, id);
        }
        self.settle(poller, id);
        Ok(())
    }

    /// Something may be read from a program.
    pub fn readable(&mut self, poller: &Poller, id: u64) {
        if self.read(id) == Some(0) {
            self.end_output(poller, id);
        }
        self.settle(poller, id);
    }

    /// A program takes bytes again, or takes none any more.
    pub fn writable(&mut self, poller: &Poller, id: u64, flags: EventFlags) {
        if flags.contains(EventFlags::ERR) {
            self.refuse_input(poller, id);
        } else {
            self.write(poller, id);
        }
        self.settle(poller, id);
    }

    pub fn attachment_ready(&mut self, poller: &Poller, key: u64, flags: EventFlags) {
        let Some(attachment) = self.attachments.get_mut(&key) else {
            return;
        };
        let id = attachment.stream;
        attachment.hung |= flags.intersects(EventFlags::HUP | EventFlags::ERR);
        if flags.contains(EventFlags::OUT) {
            attachment.flush();
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP) && attachment.gives() {
            self.take_in(poller, key);
        }
        self.settle(poller, id);
    }

    /// The program has ended: takes what is left in its pipes, but no more, should somebody else still hold them. Those
    /// attached may have it when they want.
    pub fn drain(&mut self, poller: &Poller, id: u64) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let wanted = stream.source.is_some() && self.log.is_some() || self.has_takers(id);
        let size = stream.output.as_ref().map_or(0, |output| {
            rustix::pipe::fcntl_getpipe_size(output).unwrap_or(CHUNK)
        });
        let mut left = if wanted { size } else { 0 };
        while left > 0 {
            match self.read(id) {
                Some(length) if length > 0 => left = left.saturating_sub(length),
                _ => break,
            }
        }
        self.end_output(poller, id);
        self.close_input(poller, id);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.input_ended = false;
        }
        self.settle(poller, id);
    }

    /// There is no next program: those attached are let go at the end of this one's output.
    pub fn is_last(&mut self, id: u64) {
        self.streams.entry(id).or_default().last = true;
    }

    /// Nothing will come any more; those attached are let go when they have taken what there is.
    pub fn finish(&mut self, poller: &Poller, id: u64) {
        self.streams.entry(id).or_default().over = true;
        self.settle(poller, id);
    }

    /// Sets the size of a terminal.
    pub fn resize(&self, id: u64, size: ConsoleSize) -> Result<()> {
        let stream = self.streams.get(&id).filter(|stream| stream.terminal);
        match stream.and_then(|stream| stream.output.as_ref()) {
            Some(master) => set_terminal_size(master, size),
            None => Err(Failure::kind(
                "set the terminal's size",
                "terminal-unavailable",
            )),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.attachments.is_empty()
    }

    /// Reads once, and hands over what came: how much, 0 at the end.
    fn read(&mut self, id: u64) -> Option<usize> {
        let stream = self.streams.get(&id)?;
        let output = stream.output.as_ref()?;
        self.buffer.clear();
        self.buffer.reserve_exact(CHUNK);
        match rustix::io::read(output, spare_capacity(&mut self.buffer)) {
            Ok(0) => return Some(0),
            // Nobody has the other side of the terminal open.
            Err(Errno::IO) => return Some(0),
            Ok(_) => {}
            Err(_) => return None,
        }
        if let (Some(log), Some(source)) = (&mut self.log, stream.source) {
            self.log_failed |= log.take(source, &self.buffer);
        }
        for attachment in self.attachments.values_mut() {
            if attachment.stream == id && attachment.takes() {
                attachment.send(&self.buffer);
            }
        }
        Some(self.buffer.len())
    }

    /// Nothing is to be relayed for a while.
    pub fn trim(&mut self) {
        self.buffer = Vec::new();
    }

    fn end_output(&mut self, poller: &Poller, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(output) = stream.output.take() {
            if std::mem::take(&mut stream.reading) {
                poller.remove(&output);
            }
            stream.over |= stream.last;
            if let (Some(log), Some(source)) = (&mut self.log, stream.source) {
                self.log_failed |= log.end(source);
            }
        }
    }

    /// Takes bytes from an attachment for the program.
    fn take_in(&mut self, poller: &Poller, key: u64) {
        let Some(attachment) = self.attachments.get_mut(&key) else {
            return;
        };
        let id = attachment.stream;
        let Some(stream) = self
            .streams
            .get_mut(&id)
            .filter(|stream| stream.takes_input())
        else {
            return;
        };
        self.buffer.clear();
        self.buffer.reserve_exact(CHUNK);
        match rustix::io::read(attachment.as_fd(), spare_capacity(&mut self.buffer)) {
            Ok(0) => {
                attachment.ended = true;
                // Closed one way: the end of what the program is to read. Both ways: the attachment is gone, the
                // program's input is not. A terminal has no end, but a key for it.
                stream.input_ended |= !attachment.hung && !stream.terminal;
            }
            Ok(_) => stream.unwritten.extend_from_slice(&self.buffer),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => (attachment.hung, attachment.ended) = (true, true),
        }
        self.write(poller, id);
    }

    /// Writes as much as the program takes.
    fn write(&mut self, poller: &Poller, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let Some(input) = &stream.input else {
            return;
        };
        let mut written = 0;
        let mut refused = false;
        while written < stream.unwritten.len() {
            match rustix::io::write(input, &stream.unwritten[written..]) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    refused = true;
                    break;
                }
            }
        }
        stream.unwritten.drain(..written);
        let done = stream.unwritten.is_empty();
        let flags = match done {
            true => EventFlags::empty(),
            false => EventFlags::OUT,
        };
        if refused || (done && stream.input_ended) {
            self.refuse_input(poller, id);
        } else {
            let _ = poller.modify(input, Token::Input(id), flags);
        }
    }

    /// The program will read no more: those who write to it are told by the end of their connections. Those of a
    /// terminal stay for its output.
    fn refuse_input(&mut self, poller: &Poller, id: u64) {
        self.close_input(poller, id);
        if self.streams.get(&id).is_some_and(|stream| stream.terminal) {
            return;
        }
        self.attachments.retain(|_, attachment| {
            if attachment.stream == id {
                poller.remove(attachment.as_fd());
            }
            attachment.stream != id
        });
    }

    fn close_input(&mut self, poller: &Poller, id: u64) {
        if let Some(stream) = self.streams.get_mut(&id) {
            if let Some(input) = stream.input.take() {
                poller.remove(&input);
            }
            stream.unwritten = Vec::new();
        }
    }

    /// Brings what is watched in line with what is wanted, and lets attachments go that are done.
    fn settle(&mut self, poller: &Poller, id: u64) {
        let (takes_input, over) = self.streams.get(&id).map_or((false, false), |stream| {
            (
                stream.takes_input() && stream.unwritten.is_empty(),
                stream.over,
            )
        });
        self.attachments.retain(|_, attachment| {
            if attachment.stream != id {
                return true;
            }
            attachment.watch(poller, attachment.gives() && takes_input);
            let done = match over {
                true => attachment.is_clear() || attachment.hung,
                false => attachment.hung && !attachment.gives(),
            };
            if done {
                poller.remove(attachment.as_fd());
            }
            !done
        });
        let wanted = self.wants_output(id);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(output) = &stream.output {
            match (stream.reading, wanted) {
                (false, true) => stream.reading = poller.add(output, Token::Output(id)).is_ok(),
                (true, false) => {
                    poller.remove(output);
                    stream.reading = false;
                }
                _ => {}
            }
        }
    }

    /// Somebody wants it, and all of them take it.
    fn wants_output(&self, id: u64) -> bool {
        let Some(stream) = self.streams.get(&id) else {
            return false;
        };
        let mut takers = self.takers(id);
        let logged = stream.source.is_some() && self.log.is_some();
        (logged || self.has_takers(id)) && takers.all(Attachment::is_clear)
    }

    fn has_takers(&self, id: u64) -> bool {
        self.takers(id).next().is_some()
    }

    fn takers(&self, id: u64) -> impl Iterator<Item = &Attachment> {
        let all = self.attachments.values();
        all.filter(move |attachment| attachment.stream == id && attachment.takes())
    }
}

impl Stream {
    fn takes_input(&self) -> bool {
        self.input.is_some() && !self.input_ended
    }
}

/// Which stream a request to attach names, and which way.
pub fn direction(stream: &str) -> Option<(u64, Direction)> {
    Some(match stream {
        "stdin" => (STDIN, Direction::In),
        "stdout" => (STDOUT, Direction::Out),
        "stderr" => (STDERR, Direction::Out),
        "terminal" => (TERMINAL, Direction::Both),
        _ => return None,
    })
}
