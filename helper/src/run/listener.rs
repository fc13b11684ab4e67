//! User notifications of seccomp: the listener of the program's filter goes to the agent behind `listenerPath`.
//!
//! Once the filter is loaded, any system call may be one that waits for an answer of the agent, who has no listener yet.
//! So another thread, which the filter does not hold, hands it over, and until then this one asks nothing of the
//! kernel. There is no system call that a profile could not have notified.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::config::SPEC_VERSION;
use super::credentials::Filter;
use super::procfs::Procfs;
use super::{execute, handover};
use crate::error::{Failure, Result, Step};
use crate::protocol::Report;
use crate::seccomp::Listener;
use crate::sys;

/// Who answers, and what is said when the listener is handed over.
pub struct Agent {
    connection: OwnedFd,
    message: Vec<u8>,
}

/// A connection to the agent, from where its path can be seen.
pub fn connect(listener: &Listener) -> Result<OwnedFd> {
    UnixStream::connect(&listener.path)
        .map(OwnedFd::from)
        .step_at("connect to the seccomp agent", &listener.path)
}

impl Agent {
    /// `state`: of the container, as the specification has it.
    pub fn new(connection: OwnedFd, message: Vec<u8>) -> Self {
        Agent {
            connection,
            message,
        }
    }

    pub fn descriptor(&self) -> RawFd {
        self.connection.as_raw_fd()
    }

    /// Loads the filter and hands its listener over. What fails behind the filter is told over the channel.
    pub fn load(self, filter: &Filter, channel: BorrowedFd<'_>) -> Result<()> {
        let channel = channel
            .try_clone_to_owned()
            .step("load the seccomp filter")?;
        let loaded = Arc::new(OnceLock::<Option<OwnedFd>>::new());
        let handed = Arc::new(AtomicBool::new(false));
        let courier = {
            let (loaded, handed) = (loaded.clone(), handed.clone());
            move || self.carry(&loaded, &handed, &channel)
        };
        let thread = std::thread::Builder::new()
            .spawn(courier)
            .step("make a thread for the seccomp listener")?;
        let result = sys::seccomp::load_filter_and_listen(&filter.program, filter.flags);
        let failure = result.as_ref().err().copied();
        let _ = loaded.set(result.ok());
        if let Some(errno) = failure {
            return Err(errno).step("load the seccomp filter");
        }
        while !handed.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // Letting go of them could be a system call; execve takes all of it away.
        std::mem::forget((loaded, handed, thread));
        Ok(())
    }

    fn carry(self, loaded: &OnceLock<Option<OwnedFd>>, handed: &AtomicBool, channel: &OwnedFd) {
        let listener = loop {
            match loaded.get() {
                Some(listener) => break listener,
                None => std::thread::yield_now(),
            }
        };
        let Some(listener) = listener else { return };
        if let Err(errno) = handover::send_bytes(&self.connection, &self.message, listener.as_fd())
        {
            let failure = Failure::new("hand the seccomp listener over").errno(errno);
            execute::send(channel, &Report::of(Err::<(), _>(failure)));
            // All threads of this process.
            sys::process::exit(1);
        }
        handed.store(true, Ordering::Release);
    }
}

/// `containerProcessState` of the specification, said by the process itself; the number is the one that it has outside.
pub fn process_state(listener: &Listener, state: &Value, procfs: &Procfs) -> Result<Vec<u8>> {
    let pid = procfs.own_pid()?;
    let mut state = state.clone();
    if state["pid"].is_null() {
        state["pid"] = json!(pid);
    }
    let mut message = json!({
        "ociVersion": SPEC_VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": state,
    });
    if let Some(metadata) = &listener.metadata {
        message["metadata"] = json!(metadata);
    }
    Ok(message.to_string().into_bytes())
}
