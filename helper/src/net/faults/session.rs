//! `network.faults`: holds what Node says, until Node says no more.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use serde_json::{Value, json};

use super::super::{Firewall, Links};
use super::control::{Control, PortPlan, Update};
use super::port::Port;
use super::relay::Relay;
use crate::error::{Result, Step};
use crate::sys::namespace::unshare;

/// Returns when the pipe over which it hears is closed, with everything taken back.
pub fn faults(progress: &mut dyn FnMut(Value)) -> Result<Value> {
    let mut session = Session {
        links: Links::open()?,
        firewall: Firewall::open()?,
        relay: None,
        outside: None,
    };
    let mut control = Control::offer(progress)?;
    loop {
        if session.wait(&control)? && !control.receive()? {
            break;
        }
        while let Some(update) = control.next()? {
            let number = update.update;
            progress(match session.apply(update) {
                Ok(()) => json!({ "update": number }),
                Err(failure) => json!({ "update": number, "error": failure }),
            });
        }
        if let Some(relay) = &mut session.relay {
            relay.receive()?;
            relay.send_due();
        }
    }
    // The rules are without elements by now; what was delayed still arrives.
    while let Some(relay) = session
        .relay
        .as_mut()
        .filter(|relay| relay.next_due().is_some())
    {
        let timeout = relay.next_due().map(until);
        let _ = poll(&mut [], timeout.as_ref());
        relay.send_due();
    }
    if let Some(outside) = &session.outside {
        session.links.delete(outside)?;
    }
    Ok(json!({}))
}

struct Session {
    /// Both of the host's network namespace, wherever this process is.
    links: Links,
    firewall: Firewall,
    relay: Option<Relay>,
    /// The port's end on the host.
    outside: Option<String>,
}

impl Session {
    /// Until there is something to do; whether Node has said something.
    fn wait(&self, control: &Control) -> Result<bool> {
        let timeout = self.relay.as_ref().and_then(Relay::next_due).map(until);
        let mut ready = vec![PollFd::new(control, PollFlags::IN)];
        ready.extend(
            self.relay
                .as_ref()
                .map(|relay| PollFd::new(relay, PollFlags::IN)),
        );
        match poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).step("wait for packets"),
        }
        Ok(!ready[0].revents().is_empty())
    }

    /// The rules last, and all at once: what leads packets here needs a way on for them.
    fn apply(&mut self, update: Update) -> Result<()> {
        if let (Some(plan), None) = (&update.port, &self.relay) {
            self.relay = Some(Relay::new(self.open_port(plan)?)?);
        }
        self.links.carry_out(&update.links, None)?;
        let vias: Vec<_> = update.pipes.iter().map(|pipe| pipe.via).collect();
        if let Some(relay) = &mut self.relay {
            relay.install(update.pipes);
        }
        self.firewall.carry_out(&update.firewall)?;
        if let Some(relay) = &mut self.relay {
            relay.retire_others(&vias)?;
            relay.question();
        }
        Ok(())
    }

    fn open_port(&mut self, plan: &PortPlan) -> Result<Port> {
        unshare(UnshareFlags::NEWNET).step("make a network namespace")?;
        self.outside = Some(plan.outside.clone());
        self.links.carry_out(&plan.host, Some(std::process::id()))?;
        Links::open()?.carry_out(&plan.inside, None)?;
        Port::open(&plan.name)
    }
}

fn until(due: Instant) -> Timespec {
    let left = due.saturating_duration_since(Instant::now());
    Timespec::try_from(left.min(Duration::from_secs(3600))).unwrap_or_default()
}
