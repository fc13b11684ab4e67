//! A container's monitor.

mod life;
mod programs;
mod restarts;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

/// Longer nothing takes that is going to happen.
const PATIENCE: Duration = Duration::from_secs(30);
