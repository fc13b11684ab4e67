//! The name service of a container's networks: it answers on a socket inside the container, from files that name the
//! containers of a network, and asks the host's resolvers for everything else.
//!
//! The sockets are made by the container's child in its own network namespace and handed to its parent, which only
//! watches them. When something is asked, it forks a server, which ends after a while without questions: an idle
//! container costs no process, and no question, however strange, can hold up or bring down the parent.

mod book;
mod consult;
mod forward;
mod message;
mod record;
mod server;
mod sockets;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de};

use serde_json::value::RawValue;

use crate::attendant::Service;
use crate::net::NetworkPlan;
use crate::protocol::raw;

pub use sockets::Sockets;

/// `NameService` of `src/runtime/network-protocol.ts`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NameService {
    /// In the container's namespace.
    listen: SocketAddrV4,
    directories: Vec<PathBuf>,
    /// Of functions that are asked first, see `consult`; one a network.
    #[serde(default)]
    resolvers: Vec<PathBuf>,
    /// Who asks, for those.
    #[serde(default)]
    container: String,
    #[serde(deserialize_with = "resolvers")]
    upstream: Vec<SocketAddr>,
}

impl NameService {
    /// In the container's child.
    pub fn open(&self) -> crate::error::Result<Sockets> {
        Sockets::open(self.listen)
    }
}

/// The service with its sockets.
pub struct Names {
    pub service: NameService,
    pub sockets: Sockets,
}

impl Service for Names {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.descriptors().to_vec()
    }

    fn serve(&self, parent: &OwnedFd) -> Infallible {
        server::run(&self.service, &self.sockets, parent)
    }

    fn change(&mut self, networks: &NetworkPlan) -> Option<Box<RawValue>> {
        self.service = networks.names.clone()?;
        Some(raw(&self.service))
    }
}

const PORT: u16 = 53;

fn resolvers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts: Vec<String> = Vec::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| {
            let plain = text.parse::<IpAddr>();
            plain
                .map(|address| SocketAddr::new(address, PORT))
                .or_else(|_| text.parse())
                .map_err(|_| de::Error::custom(format!("no address of a resolver: {text}")))
        })
        .collect()
}
