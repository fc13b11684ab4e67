//! System calls. The only module in which `unsafe` may stand, each with its SAFETY reason.

pub mod bpf;
pub mod close;
pub mod datagram;
pub mod exec;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod probe;
pub mod process;
pub mod scheduling;
pub mod seccomp;
pub mod signal;
