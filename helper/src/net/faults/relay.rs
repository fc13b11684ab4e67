//! Takes packets in from the port, decides by their pipe what becomes of each, and sends them on in time.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::control::{Mac, PipePlan};
use super::frame::Packet;
use super::pipe::Pipe;
use super::port::{PREFIX, Port};
use super::queue::Queue;
use super::segment::{self, Hop};
use crate::error::{Result, Step};

/// Packets that are taken in before those that are due are looked at.
const BURST: usize = 256;

pub struct Relay {
    port: Port,
    pipes: HashMap<Mac, Pipe>,
    queue: Queue,
    random: Random,
}

impl Relay {
    pub fn new(port: Port) -> Result<Relay> {
        Ok(Relay {
            port,
            pipes: HashMap::new(),
            queue: Queue::default(),
            random: Random::new()?,
        })
    }

    /// Pipes that are new, or not as they were. What is on its way already arrives when it would have.
    pub fn install(&mut self, plans: Vec<PipePlan>) {
        let now = Instant::now();
        for plan in plans {
            let via = plan.via;
            let pipe = Pipe::new(plan, self.pipes.remove(&via), now);
            self.pipes.insert(via, pipe);
        }
    }

    /// No others are led to any more: what they were given until now is taken in.
    pub fn retire_others(&mut self, vias: &[Mac]) -> Result<()> {
        while self.receive()? {}
        self.pipes.retain(|via, _| vias.contains(via));
        Ok(())
    }

    /// Both ends of what is to be reset must send something first, so that it is known what they expect.
    pub fn question(&mut self) {
        for pipe in self.pipes.values() {
            let hop = back(&pipe.plan);
            for flow in &pipe.plan.resets {
                let question = segment::question(hop, *flow, self.random.number());
                self.port.send(&question);
            }
        }
    }

    /// Whether there may be more.
    pub fn receive(&mut self) -> Result<bool> {
        for _ in 0..BURST {
            match self.port.receive()? {
                Some(packet) => self.take(packet),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    pub fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(packet) = self.queue.pop_due(now) {
            self.port.send(&packet);
        }
    }

    fn take(&mut self, mut packet: Vec<u8>) {
        let Some(via) = packet.get(PREFIX..).and_then(|frame| frame.first_chunk()) else {
            return;
        };
        let Some(pipe) = self.pipes.get_mut(&Mac(*via)) else {
            return;
        };
        if (pipe.plan.reject || !pipe.plan.resets.is_empty())
            && let Some(answers) = answers(&pipe.plan, &packet[PREFIX..])
        {
            answers.iter().for_each(|answer| self.port.send(answer));
            return;
        }
        packet[PREFIX..PREFIX + 6].copy_from_slice(&pipe.plan.to.0);
        let length = packet.len() - PREFIX;
        let random = &mut self.random;
        if let Some(due) = pipe.admit(length, Instant::now(), &mut || random.fraction()) {
            self.queue.push(due, packet);
        }
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

/// What is said of a packet that is not let through; nothing when it is.
fn answers(plan: &PipePlan, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let packet = Packet::of(frame)?;
    let tcp = packet.tcp();
    if let Some(tcp) = tcp.filter(|tcp| plan.resets.contains(&tcp.flow)) {
        let forth = Hop {
            from: plan.via,
            to: plan.to,
        };
        let refusal = segment::refuse(back(plan), &tcp)?;
        return Some(vec![refusal, segment::give_up(forth, &tcp)]);
    }
    if !plan.reject || packet.is_neighbour_discovery() {
        return None;
    }
    let answer = match tcp {
        Some(tcp) => segment::refuse(back(plan), &tcp),
        None => segment::unreachable(back(plan), &packet),
    };
    Some(answer.into_iter().collect())
}

/// To the one whose packets these are. Not in the name of the other, with whom nothing may be exchanged.
fn back(plan: &PipePlan) -> Hop {
    Hop {
        from: plan.via,
        to: plan.from,
    }
}

/// xorshift64: chance, not secrets.
struct Random(u64);

impl Random {
    fn new() -> Result<Random> {
        let mut seed = [0; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
            .step("get a random number")?;
        Ok(Random(u64::from_ne_bytes(seed) | 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn number(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// From 0 up to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
