//! The process that answers. It has the two sockets, the directories and the addresses of the resolvers, and no right that
//! the kernel gives to root.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::book;
use super::consult::{Consultation, Verdict, resolvers};
use super::forward::{Asker, Forward, Outcome, framed, is_temporary, random, take_framed};
use super::message::{Code, Query};
use super::record::{INTERNET, Record};
use super::{NameService, Sockets};
use crate::error::{Result, Step};
use crate::launch::report;
use crate::poller::Poller;
use crate::protocol::{FrameReader, Report, decode};
use crate::sys;

/// Without a question for so long it ends.
const IDLE: Duration = Duration::from_secs(10);
/// A connection on which nothing happens is closed.
const SILENCE: Duration = Duration::from_secs(10);
/// Questions that are passed on at a time; more are failures.
const MAX_FORWARDS: usize = 256;
/// Questions that are with functions of programs at a time; more are failures, so that no flood is a way around them.
const MAX_CONSULTATIONS: usize = 64;
const MAX_CONNECTIONS: usize = 64;
/// Of answers that a connection has not taken.
const MAX_UNSENT: usize = 256 << 10;
/// Datagrams taken at a time, so that connections have their turn.
const BATCH: usize = 64;

#[derive(Debug, Clone, Copy)]
enum Token {
    Datagrams,
    Connections,
    Parent,
    Connection(u64),
    Forward(u64),
    Consultation(u64),
}

struct Server<'a> {
    service: NameService,
    parent: &'a OwnedFd,
    /// What the parent says.
    news: FrameReader,
    poller: Poller<Token>,
    datagrams: UdpSocket,
    listener: TcpListener,
    connections: BTreeMap<u64, Connection>,
    forwards: BTreeMap<u64, Forward>,
    consultations: BTreeMap<u64, Consultation>,
    last_key: u64,
    /// When something was asked last.
    asked: Instant,
}

struct Connection {
    socket: TcpStream,
    heard: Vec<u8>,
    unsent: Vec<u8>,
    heard_at: Instant,
    /// It asks no more.
    ended: bool,
}

/// Until nothing has been asked for a while, or the parent is gone.
pub fn run(service: &NameService, sockets: &Sockets, parent: &OwnedFd) -> Infallible {
    let served = Server::new(service, sockets, parent).and_then(Server::serve);
    if let Err(failure) = served {
        report(parent, &Report::of(Err::<(), _>(failure)));
    }
    sys::process::exit(0)
}

impl<'a> Server<'a> {
    fn new(service: &NameService, sockets: &Sockets, parent: &'a OwnedFd) -> Result<Self> {
        let _ = rustix::thread::set_name(c"keelson-names");
        // What it reads is from strangers. Its files belong to its user.
        let none = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        rustix::thread::set_capabilities(None, sets).step("give the capabilities up")?;
        let poller = Poller::new()?;
        let (datagrams, listener) = sockets.duplicate()?;
        poller.add(&datagrams, Token::Datagrams)?;
        poller.add(&listener, Token::Connections)?;
        poller.add(parent, Token::Parent)?;
        Ok(Server {
            service: service.clone(),
            parent,
            news: FrameReader::default(),
            poller,
            datagrams,
            listener,
            connections: BTreeMap::new(),
            forwards: BTreeMap::new(),
            consultations: BTreeMap::new(),
            last_key: 0,
            asked: Instant::now(),
        })
    }

    fn serve(mut self) -> Result<()> {
        loop {
            let now = Instant::now();
            self.give_up_on(now);
            let idle = self.forwards.is_empty()
                && self.consultations.is_empty()
                && self.connections.is_empty();
            if idle && now >= self.asked + IDLE {
                return Ok(());
            }
            let next = self.next_due().saturating_duration_since(now);
            for (token, _) in self.poller.wait(Some(next))? {
                match token {
                    Token::Datagrams => self.receive(),
                    Token::Connections => self.accept(),
                    Token::Parent if self.hear_parent() => {}
                    Token::Parent => return Ok(()),
                    Token::Connection(key) => self.hear_connection(key),
                    Token::Forward(key) => self.hear_forward(key),
                    Token::Consultation(key) => self.hear_consultation(key),
                }
            }
        }
    }

    /// False when it is gone.
    fn hear_parent(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match rustix::net::recv(self.parent, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) if length > 0 => self.news.push(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => return true,
            _ => return false,
        }
        while let Ok(Some(frame)) = self.news.next() {
            if let Ok(service) = decode(frame) {
                self.service = service;
            }
        }
        true
    }

    fn next_due(&self) -> Instant {
        let forwards = self.forwards.values().map(Forward::due);
        let connections = self
            .connections
            .values()
            .map(|each| each.heard_at + SILENCE);
        let consultations = self.consultations.values().filter_map(Consultation::due);
        forwards
            .chain(connections)
            .chain(consultations)
            .min()
            .unwrap_or(self.asked + IDLE)
    }

    fn give_up_on(&mut self, now: Instant) {
        let late = self.forwards.iter().filter(|(_, each)| each.due() <= now);
        for key in late.map(|(&key, _)| key).collect::<Vec<_>>() {
            self.ask_next(key);
        }
        let late = |each: &Consultation| each.due().is_some_and(|due| due <= now);
        let late = self.consultations.iter().filter(|(_, each)| late(each));
        for key in late.map(|(&key, _)| key).collect::<Vec<_>>() {
            if let Some(consultation) = self.consultations.get_mut(&key) {
                let verdict = consultation.give_up(now);
                self.decide(key, verdict);
            }
        }
        self.connections
            .retain(|_, connection| connection.heard_at + SILENCE > now);
    }

    fn receive(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..BATCH {
            // An error is the answer to something sent before, or says that there is nothing more.
            let Ok((length, from)) = self.datagrams.recv_from(&mut buffer) else {
                return;
            };
            self.take(Asker::Datagram(from), &buffer[..length]);
        }
    }

    fn accept(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else {
            return;
        };
        if self.connections.len() >= MAX_CONNECTIONS || socket.set_nonblocking(true).is_err() {
            return;
        }
        let key = self.next_key();
        if self.poller.add(&socket, Token::Connection(key)).is_ok() {
            let connection = Connection {
                socket,
                heard: Vec::new(),
                unsent: Vec::new(),
                heard_at: Instant::now(),
                ended: false,
            };
            self.connections.insert(key, connection);
        }
    }

    fn hear_connection(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.send().is_err() || connection.receive().is_err() {
            self.connections.remove(&key);
            return;
        }
        while let Some(message) = self
            .connections
            .get_mut(&key)
            .and_then(|connection| take_framed(&mut connection.heard))
        {
            self.take(Asker::Connection(key), &message);
        }
        self.settle(key);
    }

    /// A message from someone inside.
    fn take(&mut self, asker: Asker, message: &[u8]) {
        self.asked = Instant::now();
        let datagram = matches!(asker, Asker::Datagram(_));
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(Some(refusal)) => return self.tell(asker, &refusal),
            Err(None) => return,
        };
        let resolvers = resolvers(&self.service.resolvers);
        if resolvers.is_empty() {
            return self.resolve(asker, query);
        }
        // Nobody could be asked about other classes, and none may lead past who is to be asked.
        let code = match query.class {
            INTERNET if self.consultations.len() < MAX_CONSULTATIONS => {
                let key = self.next_key();
                let container = self.service.container.clone();
                let mut consultation = Consultation::new(asker, query, container, resolvers);
                let verdict = consultation.ask(Instant::now());
                self.consultations.insert(key, consultation);
                return self.decide(key, verdict);
            }
            INTERNET => Code::ServerFailure,
            _ => Code::Refused,
        };
        self.tell(asker, &query.answer(code, &[], datagram));
    }

    fn hear_consultation(&mut self, key: u64) {
        if let Some(consultation) = self.consultations.get_mut(&key) {
            let verdict = consultation.hear(Instant::now());
            self.decide(key, verdict);
        }
    }

    fn decide(&mut self, key: u64, verdict: Verdict) {
        let (code, records) = match verdict {
            Verdict::Waiting => {
                let consultation = self.consultations.get(&key);
                if let Some(socket) = consultation.and_then(Consultation::socket) {
                    // It may be watched already.
                    let _ = self.poller.add(socket, Token::Consultation(key));
                }
                return;
            }
            Verdict::Pass => {
                if let Some(consultation) = self.consultations.remove(&key) {
                    self.resolve(consultation.asker, consultation.into_query());
                }
                return;
            }
            Verdict::Records(records) => (Code::NoError, records),
            Verdict::Refused => (Code::NameError, Vec::new()),
            Verdict::Failed => (Code::ServerFailure, Vec::new()),
        };
        if let Some(consultation) = self.consultations.remove(&key) {
            let datagram = matches!(consultation.asker, Asker::Datagram(_));
            let answer = consultation.query().answer(code, &records, datagram);
            self.tell(consultation.asker, &answer);
        }
    }

    /// From the networks' names, or from those who know the world's.
    fn resolve(&mut self, asker: Asker, query: Query) {
        let datagram = matches!(asker, Asker::Datagram(_));
        if let Some(records) = self.look_up(&query) {
            let answer = query.answer(Code::NoError, &records, datagram);
            return self.tell(asker, &answer);
        }
        let code = match self.service.upstream.is_empty() {
            true if query.is_unqualified() => Code::NameError,
            true => Code::ServerFailure,
            false if self.forwards.len() >= MAX_FORWARDS => Code::ServerFailure,
            false => return self.forward(asker, query),
        };
        self.tell(asker, &query.answer(code, &[], datagram));
    }

    fn look_up(&self, query: &Query) -> Option<Vec<Record>> {
        let name = query.name.as_ref().filter(|_| query.class == INTERNET)?;
        let mut records = book::look_up(&self.service.directories, name, query.kind)?;
        // Who takes the first takes another each time.
        for n in (1..records.len()).rev() {
            records.swap(n, usize::from(random()) % (n + 1));
        }
        Some(records)
    }

    fn forward(&mut self, asker: Asker, query: Query) {
        let key = self.next_key();
        let forward = Forward::new(asker, query, Instant::now());
        self.forwards.insert(key, forward);
        self.ask_next(key);
    }

    fn ask_next(&mut self, key: u64) {
        let Some(forward) = self.forwards.get_mut(&key) else {
            return;
        };
        let asked = forward.ask(&self.service.upstream, Instant::now());
        let watched = forward.socket().is_some_and(|socket| {
            let token = Token::Forward(key);
            self.poller.add(socket, token).is_ok()
                && (!forward.wants_to_send()
                    || self.poller.watch_writable(socket, token, true).is_ok())
        });
        if !asked || !watched {
            let answer = forward.last_word();
            self.conclude(key, &answer);
        }
    }

    fn hear_forward(&mut self, key: u64) {
        let Some(forward) = self.forwards.get_mut(&key) else {
            return;
        };
        match forward.hear() {
            Outcome::Failed => self.ask_next(key),
            Outcome::Answer(answer) => self.conclude(key, &answer),
            Outcome::Waiting => {
                if let Some(socket) = forward.socket() {
                    let more = forward.wants_to_send();
                    let _ = self
                        .poller
                        .watch_writable(socket, Token::Forward(key), more);
                }
            }
        }
    }

    fn conclude(&mut self, key: u64, answer: &[u8]) {
        if let Some(forward) = self.forwards.remove(&key) {
            self.tell(forward.asker, answer);
        }
    }

    fn tell(&mut self, asker: Asker, answer: &[u8]) {
        match asker {
            // Lost where there is no room, as any datagram may be.
            Asker::Datagram(to) => drop(self.datagrams.send_to(answer, to)),
            Asker::Connection(key) => {
                if let Some(connection) = self.connections.get_mut(&key) {
                    connection.unsent.extend_from_slice(&framed(answer));
                    self.settle(key);
                }
            }
        }
    }

    /// Sends what can be sent, and closes what is over.
    fn settle(&mut self, key: u64) {
        let asker = Asker::Connection(key);
        let waiting = self.forwards.values().any(|each| each.asker == asker)
            || self.consultations.values().any(|each| each.asker == asker);
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let sent = connection.send();
        let over = connection.ended && connection.unsent.is_empty() && !waiting;
        if sent.is_err() || over || connection.unsent.len() > MAX_UNSENT {
            let _ = connection.socket.shutdown(Shutdown::Both);
            self.connections.remove(&key);
            return;
        }
        // One that has ended would be heard again and again.
        let flags = match (connection.ended, connection.unsent.is_empty()) {
            (false, true) => EventFlags::IN,
            (false, false) => EventFlags::IN | EventFlags::OUT,
            (true, false) => EventFlags::OUT,
            (true, true) => EventFlags::empty(),
        };
        let token = Token::Connection(key);
        let _ = self.poller.modify(&connection.socket, token, flags);
    }

    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }
}

impl Connection {
    fn receive(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(length) => {
                self.heard_at = Instant::now();
                self.heard.extend_from_slice(&buffer[..length]);
            }
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn send(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if is_temporary(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        match token {
            Token::Datagrams => 0,
            Token::Connections => 1,
            Token::Parent => 2,
            Token::Connection(key) => (key << 3) | 3,
            Token::Forward(key) => (key << 3) | 4,
            Token::Consultation(key) => (key << 3) | 5,
        }
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Token {
        match data & 7 {
            0 => Token::Datagrams,
            1 => Token::Connections,
            2 => Token::Parent,
            3 => Token::Connection(data >> 3),
            4 => Token::Forward(data >> 3),
            _ => Token::Consultation(data >> 3),
        }
    }
}
