//! What is to hold from now on, as Node says it: frames in a pipe, each the whole of it.

use std::collections::HashSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

use super::super::link::hardware_address;
use super::super::{FirewallCommand, LinkOperation};
use crate::error::{Result, Step};
use crate::fs::stream::Inlet;
use crate::protocol::{FrameReader, decode};

/// `FaultsUpdate` of `src/runtime/network-protocol.ts`.
#[derive(Deserialize)]
pub struct Update {
    pub update: u64,
    pub port: Option<PortPlan>,
    /// On the host.
    pub links: Vec<LinkOperation>,
    pub firewall: Vec<FirewallCommand>,
    pub pipes: Vec<PipePlan>,
}

/// The link by which packets come, once there are pipes.
#[derive(Deserialize)]
pub struct PortPlan {
    /// Its end on the host.
    pub outside: String,
    /// In this process's own network namespace, under this name.
    pub name: String,
    pub host: Vec<LinkOperation>,
    pub inside: Vec<LinkOperation>,
}

/// Packets in one direction between two members.
#[derive(Debug, Deserialize)]
pub struct PipePlan {
    /// The hardware address by which they come here.
    pub via: Mac,
    pub from: Mac,
    pub to: Mac,
    #[serde(default)]
    pub reject: bool,
    #[serde(default)]
    pub stages: Vec<Stage>,
    #[serde(default)]
    pub resets: HashSet<Flow>,
}

/// One fault of a pipe.
#[derive(Debug, Clone, Deserialize)]
pub struct Stage {
    /// Names it from one update to the next.
    pub id: String,
    /// Of packets, by chance: 0 to 1.
    #[serde(default)]
    pub loss: f64,
    /// Bits a second.
    pub rate: Option<f64>,
    /// Milliseconds.
    #[serde(default)]
    pub latency: f64,
    #[serde(default)]
    pub jitter: f64,
}

/// A TCP connection, as the packets of one direction name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

impl Flow {
    pub fn reversed(self) -> Flow {
        Flow {
            source: self.destination,
            destination: self.source,
        }
    }
}

impl<'de> Deserialize<'de> for Flow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (from, from_port, to, to_port) =
            <(IpAddr, u16, IpAddr, u16)>::deserialize(deserializer)?;
        Ok(Flow {
            source: SocketAddr::new(from, from_port),
            destination: SocketAddr::new(to, to_port),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hardware_address(&text)
            .map(Mac)
            .ok_or_else(|| D::Error::custom(format!("no hardware address: {text}")))
    }
}

/// Where Node writes.
pub struct Control {
    pipe: Inlet,
    frames: FrameReader,
}

impl Control {
    pub fn offer(progress: &mut dyn FnMut(Value)) -> Result<Control> {
        Ok(Control {
            pipe: Inlet::offer(progress)?,
            frames: FrameReader::default(),
        })
    }

    /// Takes in what has come; false when there is nothing more to come.
    pub fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; 64 << 10];
        let length = self.pipe.read(&mut buffer).step("read what is to hold")?;
        self.frames.push(&buffer[..length]);
        Ok(length > 0)
    }

    pub fn next(&mut self) -> Result<Option<Update>> {
        self.frames.next()?.map(decode).transpose()
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
