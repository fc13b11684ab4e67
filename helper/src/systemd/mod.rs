//! What is asked of systemd: a scope, its properties, its end. Over D-Bus, as little of that as it takes.

mod connection;
mod message;
mod property;
mod scope;

pub use connection::Manager;
pub use property::{Property, Value};
pub use scope::{Scope, ScopeRequest};
