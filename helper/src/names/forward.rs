//! A question passed on to the host's resolvers, one after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::message::{Code, Query};

/// One resolver's time. Those who ask wait for 5 seconds, as a rule, and are to be told before.
const PATIENCE: Duration = Duration::from_millis(2000);
const LIMIT: Duration = Duration::from_millis(4500);
/// How often each resolver is asked.
const ROUNDS: usize = 2;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Datagram(SocketAddr),
    /// A connection, by its key.
    Connection(u64),
}

pub struct Forward {
    pub asker: Asker,
    query: Query,
    /// That it was asked under at last.
    id: u16,
    link: Link,
    attempts: usize,
    due: Instant,
    limit: Instant,
    /// An answer that is worth telling if there is none better.
    poor: Option<Vec<u8>>,
}

enum Link {
    None,
    Datagram(UdpSocket),
    Stream {
        socket: TcpStream,
        unsent: Vec<u8>,
        heard: Vec<u8>,
    },
}

/// What came of it.
pub enum Outcome {
    Waiting,
    /// Ask the next one.
    Failed,
    Answer(Vec<u8>),
}

impl Forward {
    pub fn new(asker: Asker, query: Query, now: Instant) -> Self {
        Forward {
            asker,
            query,
            id: 0,
            link: Link::None,
            attempts: 0,
            due: now,
            limit: now + LIMIT,
            poor: None,
        }
    }

    /// Asks the next resolver that can be asked; false when all have been.
    pub fn ask(&mut self, upstream: &[SocketAddr], now: Instant) -> bool {
        while self.attempts < upstream.len() * ROUNDS && now < self.limit {
            let resolver = upstream[self.attempts % upstream.len()];
            self.attempts += 1;
            self.id = random();
            if let Ok(link) = self.link(resolver) {
                self.link = link;
                self.due = (now + PATIENCE).min(self.limit);
                return true;
            }
        }
        false
    }

    /// When to give up on the resolver that was asked last.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether to be woken to send.
    pub fn wants_to_send(&self) -> bool {
        matches!(&self.link, Link::Stream { unsent, .. } if !unsent.is_empty())
    }

    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.link {
            Link::None => None,
            Link::Datagram(socket) => Some(socket.as_fd()),
            Link::Stream { socket, .. } => Some(socket.as_fd()),
        }
    }

    /// The socket is ready.
    pub fn hear(&mut self) -> Outcome {
        match self.exchange() {
            Ok(Some(reply)) => self.judge(&reply),
            Ok(None) => Outcome::Waiting,
            Err(error) if is_temporary(&error) => Outcome::Waiting,
            Err(_) => Outcome::Failed,
        }
    }

    /// What to say when nobody has answered.
    pub fn last_word(&mut self) -> Vec<u8> {
        let datagram = self.is_datagram();
        self.poor
            .take()
            .unwrap_or_else(|| self.query.answer(Code::ServerFailure, &[], datagram))
    }

    fn is_datagram(&self) -> bool {
        matches!(self.asker, Asker::Datagram(_))
    }

    /// As it was asked: who wants more than fits into a datagram asks again over a connection.
    fn link(&self, resolver: SocketAddr) -> io::Result<Link> {
        let message = self.query.with_id(self.id);
        if self.is_datagram() {
            // Connected: only the one that was asked can answer, and that nobody is there is heard at once.
            let socket = UdpSocket::from(open(resolver, SocketType::DGRAM)?);
            socket.send(&message)?;
            return Ok(Link::Datagram(socket));
        }
        Ok(Link::Stream {
            socket: open(resolver, SocketType::STREAM)?.into(),
            unsent: framed(&message),
            heard: Vec::new(),
        })
    }

    fn exchange(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.link {
            Link::None => Ok(None),
            Link::Datagram(socket) => {
                let mut buffer = vec![0; usize::from(u16::MAX)];
                let length = socket.recv(&mut buffer)?;
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Link::Stream {
                socket,
                unsent,
                heard,
            } => {
                while !unsent.is_empty() {
                    let sent = socket.write(unsent)?;
                    unsent.drain(..sent);
                }
                let mut buffer = [0; 4096];
                loop {
                    if let Some(message) = take_framed(heard) {
                        return Ok(Some(message));
                    }
                    match socket.read(&mut buffer)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        length => heard.extend_from_slice(&buffer[..length]),
                    }
                }
            }
        }
    }

    /// A resolver that cannot or will not tell is no reason not to ask the next one.
    fn judge(&mut self, reply: &[u8]) -> Outcome {
        let datagram = self.is_datagram();
        match self.query.forwarded(reply, self.id, datagram) {
            Some((Code::NoError | Code::NameError, answer)) => Outcome::Answer(answer),
            Some((_, answer)) => {
                self.poor = Some(answer);
                Outcome::Failed
            }
            None if datagram => Outcome::Waiting,
            None => Outcome::Failed,
        }
    }
}

/// With its length before it, as in a connection.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// The first message of what has arrived over a connection, when it is complete.
pub fn take_framed(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    let message = bytes.get(2..2 + length)?.to_vec();
    bytes.drain(..2 + length);
    Some(message)
}

pub fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}

fn open(resolver: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match resolver {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, None)?;
    match connect(&socket, &resolver) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

/// Unpredictable for others.
pub fn random() -> u16 {
    let mut bytes = [0; 2];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_connection_are_told_apart() {
        let mut bytes = framed(b"one");
        bytes.extend(framed(b"two"));
        bytes.push(0);
        assert_eq!(take_framed(&mut bytes).as_deref(), Some(&b"one"[..]));
        assert_eq!(take_framed(&mut bytes).as_deref(), Some(&b"two"[..]));
        assert_eq!(take_framed(&mut bytes), None);
        assert_eq!(bytes, [0]);
    }
}
