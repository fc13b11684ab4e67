//! Netlink (linux/netlink.h): messages of nested attributes, and a socket on which each is acknowledged.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::error::{Failure, Result, Step};

pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const DUMP: u16 = 0x300;
pub const CREATE: u16 = 0x400;
pub const REPLACE: u16 = 0x100;
pub const EXCLUSIVE: u16 = 0x200;
pub const APPEND: u16 = 0x800;

const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
/// As much as the kernel puts into one at most, of a dump too.
const DATAGRAM: usize = 32 << 10;
/// In an acknowledgement: the request was not repeated; attributes follow.
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
const SOL_NETLINK: i32 = 270;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_CAP_ACK: i32 = 10;

/// A message in the making. Numbers are in the machine's order unless a family says otherwise.
pub struct Message {
    bytes: Vec<u8>,
    expected: Expected,
}

/// Of an acknowledgement.
#[derive(Clone)]
struct Expected {
    /// Said of the message when it fails.
    step: String,
    /// That failure is none.
    unless: Option<Errno>,
}

impl Message {
    pub fn new(kind: u16, flags: u16, step: impl Into<String>) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        Message {
            bytes,
            expected: Expected {
                step: step.into(),
                unless: None,
            },
        }
    }

    /// It is as well when it fails so.
    pub fn unless(mut self, errno: Errno) -> Self {
        self.expected.unless = Some(errno);
        self
    }

    /// The family's own header.
    pub fn header(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    pub fn put(mut self, attribute: u16, value: &[u8]) -> Self {
        self.attribute(attribute, value);
        self
    }

    pub fn put_str(self, attribute: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(attribute, &bytes)
    }

    pub fn put_u32(self, attribute: u16, value: u32) -> Self {
        self.put(attribute, &value.to_ne_bytes())
    }

    /// Netfilter's numbers.
    pub fn put_be32(self, attribute: u16, value: u32) -> Self {
        self.put(attribute, &value.to_be_bytes())
    }

    pub fn nest(mut self, attribute: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.attribute(attribute | NESTED, &[]);
        let mut filled = fill(self);
        let length = (filled.bytes.len() - start) as u16;
        filled.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    fn attribute(&mut self, attribute: u16, value: &[u8]) {
        self.bytes
            .extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&attribute.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, sequence: u32) {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }

    fn wants_ack(&self) -> bool {
        u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) & ACK != 0
    }
}

/// A socket of the network namespace that it was opened in.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    /// For what is received; made once, because a process that has just been cloned pays for every page.
    buffer: Vec<u8>,
}

/// One message that came back.
struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Socket {
    pub fn open(protocol: Option<Protocol>) -> Result<Self> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .step("open a netlink socket")?;
        // Kernels that have it say in words what was wrong.
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            let _ = crate::sys::network::enable_option(&fd, SOL_NETLINK, option);
        }
        Ok(Socket {
            fd,
            sequence: 0,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Sends all in one go and waits for the acknowledgements of those that want one. The first failure counts.
    pub fn batch(&mut self, messages: Vec<Message>) -> Result<()> {
        let mut waiting = HashMap::new();
        let before = self.sequence;
        let mut bytes = Vec::new();
        for mut message in messages {
            self.sequence += 1;
            message.finish(self.sequence);
            bytes.extend_from_slice(&message.bytes);
            if message.wants_ack() {
                waiting.insert(self.sequence, message.expected);
            }
        }
        send(&self.fd, &bytes, SendFlags::empty()).step("send to netlink")?;
        let mut first: Option<Failure> = None;
        while !waiting.is_empty() {
            let failed = self.receive(|received| {
                // Nor what an earlier batch, given up at its first failure, was still to be told.
                if received.kind != ERROR || received.sequence <= before {
                    return None;
                }
                let expected = waiting.remove(&received.sequence);
                acknowledged(received, expected.as_ref())
            })?;
            let stop = failed.is_some();
            first = first.or(failed);
            // A batch of nf_tables that fails as a whole answers only for what failed.
            if stop {
                break;
            }
        }
        match first {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Hands every answer's payload to `each`.
    pub fn dump(&mut self, mut message: Message, mut each: impl FnMut(u16, &[u8])) -> Result<()> {
        self.sequence += 1;
        message.finish(self.sequence);
        let expected = message.expected.clone();
        send(&self.fd, &message.bytes, SendFlags::empty()).step("send to netlink")?;
        loop {
            let mut done = false;
            let failed = self.receive(|received| {
                match received.kind {
                    DONE => done = true,
                    ERROR => {
                        done = true;
                        return acknowledged(received, Some(&expected));
                    }
                    kind => each(kind, received.payload),
                }
                None
            })?;
            match failed {
                Some(failure) => return Err(failure),
                None if done => return Ok(()),
                None => {}
            }
        }
    }

    /// Takes in one datagram; answers the first thing that `hear` says of its messages.
    fn receive(
        &mut self,
        mut hear: impl FnMut(&Received<'_>) -> Option<Failure>,
    ) -> Result<Option<Failure>> {
        let buffer = &mut self.buffer;
        let length = loop {
            match recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                received => break received.step("receive from netlink")?.0,
            }
        };
        let mut rest = &buffer[..length];
        let mut first = None;
        while let Some((received, more)) = split(rest) {
            rest = more;
            first = first.or_else(|| hear(&received));
        }
        Ok(first)
    }
}

fn split(bytes: &[u8]) -> Option<(Received<'_>, &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
    let message = bytes.get(..length)?;
    let received = Received {
        kind: u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?),
        flags: u16::from_ne_bytes(message.get(6..8)?.try_into().ok()?),
        sequence: u32::from_ne_bytes(message.get(8..12)?.try_into().ok()?),
        payload: message.get(HEADER..)?,
    };
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((received, &bytes[next..]))
}

/// The failure that an acknowledgement tells of.
fn acknowledged(received: &Received<'_>, expected: Option<&Expected>) -> Option<Failure> {
    let errno = i32::from_ne_bytes(received.payload.get(0..4)?.try_into().ok()?);
    if errno == 0 {
        return None;
    }
    let errno = Errno::from_raw_os_error(-errno);
    if expected.is_some_and(|expected| expected.unless == Some(errno)) {
        return None;
    }
    let step = expected.map(|expected| expected.step.clone());
    let failure = Failure::new(step.unwrap_or_default()).errno(errno);
    match words(received) {
        Some(words) => Some(failure.detail(words)),
        None => Some(failure),
    }
}

/// What the kernel says of it.
fn words(received: &Received<'_>) -> Option<String> {
    if received.flags & ACK_TLVS == 0 {
        return None;
    }
    let echoed = match received.flags & CAPPED {
        0 => u32::from_ne_bytes(received.payload.get(4..8)?.try_into().ok()?) as usize,
        _ => HEADER,
    };
    find(received.payload.get(4 + echoed..)?, 1).map(text_of)
}

/// Every attribute: its number without flags, and its value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((kind, value))
    })
}

pub fn find(bytes: &[u8], attribute: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == attribute).then_some(value))
}

/// A string that ends with NUL.
pub fn text_of(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let mut message = Message::new(16, 0, "test")
            .header(&[1, 2, 3, 4])
            .put_str(3, "kl0")
            .nest(18, |nest| nest.put_u32(1, 7));
        message.finish(5);
        let body = &message.bytes[HEADER + 4..];
        assert_eq!(message.bytes.len() % 4, 0);
        assert_eq!(find(body, 3).map(text_of).as_deref(), Some("kl0"));
        assert_eq!(
            find(find(body, 18).unwrap(), 1),
            Some(&7u32.to_ne_bytes()[..])
        );
        assert_eq!(find(body, 4), None);
    }

    #[test]
    fn what_is_cut_short_ends_the_attributes() {
        assert_eq!(attributes(&[9, 0, 1, 0, 0]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1]).count(), 0);
        assert_eq!(attributes(&[]).count(), 0);
    }
}
