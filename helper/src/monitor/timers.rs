//! What is to happen later.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// Nobody has connected to a monitor that has nothing to watch.
    Forsaken,
    /// The time a container was given to stop is over.
    Kill,
    Restart,
    /// Nothing has happened for a while.
    Idle,
    /// The next health check.
    Check,
    CheckTimeout,
    /// Look whether the container is frozen.
    Freeze,
}

#[derive(Default)]
pub struct Timers {
    set: Vec<(Instant, Timer)>,
}

impl Timers {
    /// Sets a timer anew.
    pub fn set(&mut self, timer: Timer, after: Duration) {
        self.clear(timer);
        if let Some(at) = Instant::now().checked_add(after) {
            self.set.push((at, timer));
        }
    }

    pub fn clear(&mut self, timer: Timer) {
        self.set.retain(|(_, set)| *set != timer);
    }

    pub fn is_set(&self, timer: Timer) -> bool {
        self.set.iter().any(|(_, set)| *set == timer)
    }

    /// Time until the first one.
    pub fn first(&self) -> Option<Duration> {
        let first = self.set.iter().map(|(at, _)| *at).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    /// Takes one that is due, the earliest first.
    pub fn due(&mut self) -> Option<Timer> {
        let now = Instant::now();
        let (index, _) = self
            .set
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| *at <= now)
            .min_by_key(|(_, (at, _))| *at)?;
        Some(self.set.swap_remove(index).1)
    }
}
