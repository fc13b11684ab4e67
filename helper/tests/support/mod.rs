//! Starts the real executable over a socket pair and speaks the protocol with it.
#![allow(dead_code)] // each test file uses its part

pub mod agent;
pub mod client;
pub mod config;
pub mod host;
pub mod monitor;
pub mod oci;
pub mod wire;

pub use client::Helper;
pub use config::Bundle;
pub use wire::Wire;
