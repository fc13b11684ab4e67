//! The maker: a worker that makes parts of containers ahead of their time (`run/spare.rs`), one after the other.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};

use super::worker::{Worker, send};
use crate::error::{Result, Step};
use crate::fs::remove::remove_path;
use crate::protocol::{self, FrameReader, Report, raw};
use crate::run::{Identity, RootfsMount, WritableLayer, hand_over, make_network, make_root};
use crate::sys;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    Network,
    Root(RootOrder),
}

/// A writable layer and the root file system on it.
#[derive(Clone, Serialize, Deserialize)]
pub struct RootOrder {
    #[serde(flatten)]
    layer: WritableLayer,
    pub rootfs: RootfsMount,
}

/// Forks one, which ends with its socket.
pub fn spawn() -> Result<Worker> {
    Worker::fork(&[], serve)
}

/// Asks for a part. It comes with the report over the worker's socket, in the order of the orders.
pub fn ask(worker: &Worker, order: &Order) -> Result<()> {
    let bytes = protocol::encode(order);
    let mut sent = 0;
    while sent < bytes.len() {
        sent += rustix::net::send(worker, &bytes[sent..], SendFlags::NOSIGNAL)
            .step("order a part of a container")?;
    }
    Ok(())
}

fn serve(socket: &OwnedFd) -> Infallible {
    let mut orders = FrameReader::default();
    loop {
        receive(socket, &mut orders);
        while let Ok(Some(frame)) = orders.next() {
            let made = protocol::decode(frame).and_then(|order| match order {
                Order::Network => make_network().map(|network| (network, Vec::new())),
                Order::Root(order) => make_writable(&order),
            });
            match made {
                Ok((part, layers)) => {
                    let report = Report::Ok(raw(&layers));
                    if hand_over(socket, &report, part.as_fd()).is_err() {
                        sys::process::exit(1);
                    }
                }
                Err(failure) => send(socket, &Report::of(Err::<(), _>(failure))),
            }
        }
    }
}

fn make_writable(order: &RootOrder) -> Result<(OwnedFd, Vec<Identity>)> {
    let RootOrder { layer, rootfs } = order;
    layer
        .make(rootfs)
        .and_then(|()| make_root(rootfs))
        .inspect_err(|_| {
            let _ = remove_path(&layer.directory);
        })
}

/// Waits for more of an order; when the launcher has let go of this process, it ends.
fn receive(socket: &OwnedFd, orders: &mut FrameReader) {
    let mut buffer = [0; 16 << 10];
    match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
        Ok((length, _)) if length > 0 => orders.push(&buffer[..length]),
        Err(Errno::INTR) => {}
        _ => sys::process::exit(0),
    }
}
