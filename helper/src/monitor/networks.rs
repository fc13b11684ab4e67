//! Networks that a container joins and leaves while it lives.

use serde_json::json;

use super::monitor::{Monitor, Token};
use super::requests::Request;
use crate::attendant::{Attendant, Duty};
use crate::error::{Failure, Result};
use crate::net::{NetworkChange, NetworkPlan};
use crate::protocol::raw;
use crate::run::remove_trees;

/// One that was asked for while the container was being started.
pub struct Postponed {
    request: Request,
    change: NetworkChange,
}

impl Monitor<'_> {
    /// Both for the run that there is and for those to come. It is answered when it is so.
    pub fn change_networks(&mut self, request: Request, change: NetworkChange) {
        if self.life.as_ref().is_some_and(|life| !life.executed) {
            // Its child is making the networks of the plan before.
            self.postponed.push(Postponed { request, change });
            return;
        }
        match self.try_change(&change) {
            Ok(()) => self.answer(request, Ok(raw(&json!({})))),
            Err(failure) => self.answer_failure(request, &failure),
        }
    }

    /// The start has come to its end, whichever.
    pub(super) fn change_postponed(&mut self) {
        for Postponed { request, change } in std::mem::take(&mut self.postponed) {
            self.change_networks(request, change);
        }
    }

    fn try_change(&mut self, change: &NetworkChange) -> Result<()> {
        const STEP: &str = "change the networks";
        if self.over {
            return Err(Failure::kind(STEP, "not-running"));
        }
        let Some(plan) = &mut self.plan else {
            return Err(Failure::kind(STEP, "not-running"));
        };
        let invalid =
            |error: serde_json::Error| Failure::kind(STEP, "protocol").detail(error.to_string());
        let network: NetworkPlan = serde_json::from_str(change.plan.get()).map_err(invalid)?;
        let mut config: serde_json::Value =
            serde_json::from_str(plan.config.get()).map_err(invalid)?;
        let ports = config["keelson"]["network"]["ports"].take();
        config["keelson"]["network"] = serde_json::from_str(change.plan.get()).map_err(invalid)?;
        match &mut self.life {
            Some(life) => life.container.change_networks(change, &network)?,
            None => {
                change.carry_out(None)?;
                self.remains.change_networks(&network);
            }
        }
        plan.config = raw(&config);
        if let Some(life) = &mut self.life {
            let key = life.key;
            let token = |duty| Token::Asked(key, duty);
            life.attendants.change(&network, &self.poller, token);
            if config["keelson"]["network"]["ports"] != ports {
                let relay = life.container.relay(&network)?.map(Attendant::new);
                let asked = token(Duty::Relay);
                life.attendants
                    .replace(Duty::Relay, relay, &self.poller, asked);
            }
        }
        // What of it stays is claimed until the container is removed.
        let _ = remove_trees(&change.release);
        Ok(())
    }
}
