//! A container that is made now and whose program is executed later, when somebody asks over a socket: `create` and
//! `start` of an OCI runtime. Whoever made it may be gone by then.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use serde_json::{Value, json};

use super::handover;
use super::hooks::{Hooks, run_all};
use super::process::DEFAULT_UMASK;
use crate::error::{Result, Step};
use crate::sys;

pub struct Deferred {
    /// Where `start` comes to.
    pub listener: OwnedFd,
    pub hooks: Hooks,
    /// What hooks are told, but for the pid.
    pub state: Value,
}

/// What `start` says. A connection that ends without it was only a look whether anybody waits.
pub const START: u8 = b'!';

impl Deferred {
    /// In the container's namespaces, with the runtime's root.
    pub fn run_create_container_hooks(&self, state: &Value) -> Result<()> {
        let hooks = &self.hooks.create_container;
        let ours = rustix::process::umask(DEFAULT_UMASK);
        let ran = run_all("createContainer", hooks, &state.to_string());
        rustix::process::umask(ours);
        ran
    }

    /// With the container's root.
    pub fn run_start_container_hooks(&self, state: &Value) -> Result<()> {
        let mut state = state.clone();
        state["status"] = json!("created");
        let hooks = &self.hooks.start_container;
        run_all("startContainer", hooks, &state.to_string())
    }

    /// Waits for `start`, and makes `channel` the connection to it, over which is told what goes wrong from now on. It may
    /// bring a connection to the agent that answers seccomp's notifications.
    pub fn wait_for_start(&self, channel: &OwnedFd) -> Result<Option<OwnedFd>> {
        loop {
            let flags = rustix::net::SocketFlags::CLOEXEC;
            let connection = match rustix::net::accept_with(&self.listener, flags) {
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                accepted => accepted.step("wait for start")?,
            };
            let mut word = [0];
            match handover::receive(&connection, &mut word, RecvFlags::empty()) {
                Ok((1, agent)) if word[0] == START => {
                    sys::process::redirect(channel, connection.as_fd()).step("answer start")?;
                    return Ok(agent);
                }
                _ => {}
            }
        }
    }

    /// The container's state for hooks in its namespaces, where its process has another number.
    pub fn state_of_self(&self) -> Value {
        let mut state = self.state.clone();
        state["pid"] = json!(rustix::process::getpid().as_raw_nonzero().get());
        state
    }
}
