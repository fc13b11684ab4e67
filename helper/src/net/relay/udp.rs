//! Datagrams: whoever sends gets a socket of its own towards the container, by which the answers come back to it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{Route, Token};
use crate::poller::Poller;
use crate::sys::datagram::{self, Local};

/// At a time; for more the one that was silent longest has to go.
const MAX: usize = 1024;
/// One that has been silent for so long is over.
const SILENCE: Duration = Duration::from_secs(60);
/// Datagrams taken at a time, so that others have their turn.
const BATCH: usize = 64;
/// None is longer.
const LONGEST: usize = 65_536;

#[derive(Default)]
pub struct Flows {
    flows: HashMap<u64, Flow>,
    /// By who sends, and to which route.
    keys: HashMap<(SocketAddr, u64), u64>,
    last_key: u64,
}

struct Flow {
    socket: UdpSocket,
    from: SocketAddr,
    route: u64,
    /// Which of the host's addresses it was last asked at.
    to: Option<Local>,
    heard: Instant,
}

impl Flows {
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// From outside.
    pub fn receive(&mut self, routes: &[Route], index: u64, poller: &Poller<Token>) {
        let route = &routes[index as usize];
        let mut buffer = [0; LONGEST];
        for _ in 0..BATCH {
            // An error is what became of an answer, or says that there is nothing more.
            let Ok(received) = datagram::receive(&route.socket, &mut buffer) else {
                return;
            };
            let Some(flow) = self.flow_of(received.from, route, index, poller) else {
                continue;
            };
            flow.to = received.to;
            flow.heard = Instant::now();
            // Lost where there is no room, as any datagram may be.
            let _ = flow.socket.send(&buffer[..received.length]);
        }
    }

    /// From the container.
    pub fn answer(&mut self, routes: &[Route], key: u64) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let mut buffer = [0; LONGEST];
        for _ in 0..BATCH {
            let Ok(length) = flow.socket.recv(&mut buffer) else {
                return;
            };
            flow.heard = Instant::now();
            let socket = &routes[flow.route as usize].socket;
            let _ = datagram::send(socket, &buffer[..length], flow.from, flow.to);
        }
    }

    pub fn forget_idle(&mut self) {
        let late = self.flows.iter();
        let late: Vec<u64> = late
            .filter(|(_, flow)| flow.heard.elapsed() >= SILENCE)
            .map(|(&key, _)| key)
            .collect();
        for key in late {
            self.forget(key);
        }
    }

    fn flow_of(
        &mut self,
        from: SocketAddr,
        route: &Route,
        index: u64,
        poller: &Poller<Token>,
    ) -> Option<&mut Flow> {
        if let Some(key) = self.keys.get(&(from, index)) {
            return self.flows.get_mut(key);
        }
        let socket = connected(route.to).ok()?;
        if self.flows.len() >= MAX {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.heard);
            self.forget(*oldest?.0);
        }
        self.last_key += 1;
        let key = self.last_key;
        poller.add(&socket, Token::Flow(key)).ok()?;
        self.keys.insert((from, index), key);
        let flow = Flow {
            socket,
            from,
            route: index,
            to: None,
            heard: Instant::now(),
        };
        Some(self.flows.entry(key).or_insert(flow))
    }

    fn forget(&mut self, key: u64) {
        if let Some(flow) = self.flows.remove(&key) {
            self.keys.remove(&(flow.from, flow.route));
        }
    }
}

fn connected(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
