//! Requests that are answered when something has happened.

use serde_json::value::RawValue;

use super::monitor::Monitor;
use super::requests::Request;
use crate::error::{Failure, Result};
use crate::protocol::raw;

pub struct Waiter {
    pub request: Request,
    pub awaited: Awaited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The first start, and any one after a `restart`.
    Start,
    /// The end of the present run.
    End,
    Frozen,
}

impl Monitor<'_> {
    pub fn answer_waiters(
        &mut self,
        awaited: Awaited,
        result: &Result<Box<RawValue>, Box<RawValue>>,
    ) {
        let (done, rest) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter: &Waiter| waiter.awaited == awaited);
        self.waiters = rest;
        for Waiter { request, .. } in done {
            self.answer(request, result.clone());
        }
    }

    pub fn fail_waiters(&mut self, awaited: Awaited, kind: &'static str) {
        let failure = Failure::kind("wait for the container", kind);
        self.answer_waiters(awaited, &Err(raw(&failure)));
    }
}
