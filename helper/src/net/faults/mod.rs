//! Faults between members of a network: rules that drop packets, and pipes that packets are led through to this process, which
//! delays, loses, refuses or resets.
//!
//! One process for a program and network, made anew for nobody. The rules are in tables that belong to its netlink socket, and the
//! port by which packets come has its other end in its own network namespace: when the process ends, however it ends, the
//! kernel takes both away.

mod control;
mod frame;
mod pipe;
mod port;
mod queue;
mod relay;
mod segment;
mod session;

pub use session::faults;
