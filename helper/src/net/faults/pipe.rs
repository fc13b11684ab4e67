//! What happens to packets on their way from one member to another: each is lost, or has a time at which it goes on.

use std::time::{Duration, Instant};

use super::control::{PipePlan, Stage};

/// What waits for bandwidth, at most: this long, or so many bytes where that is more.
const PATIENCE: Duration = Duration::from_millis(200);
const LEAST_ROOM: f64 = 64.0 * 1024.0;

pub struct Pipe {
    pub plan: PipePlan,
    stages: Vec<State>,
}

/// A stage, and what it remembers of packets before.
struct State {
    stage: Stage,
    /// When the wire has sent all that it was given.
    free: Instant,
    /// When the last one arrives. None overtakes it: jitter is no reordering.
    last: Instant,
}

impl Pipe {
    /// With what the one before it, which it replaces, remembers.
    pub fn new(plan: PipePlan, before: Option<Pipe>, now: Instant) -> Pipe {
        let mut known = before.map(|pipe| pipe.stages).unwrap_or_default();
        let stages = plan
            .stages
            .iter()
            .map(|stage| {
                let found = known.iter().position(|each| each.stage.id == stage.id);
                let (free, last) = match found.map(|index| known.swap_remove(index)) {
                    Some(state) => (state.free, state.last),
                    None => (now, now),
                };
                State {
                    stage: stage.clone(),
                    free,
                    last,
                }
            })
            .collect();
        Pipe { plan, stages }
    }

    /// When a packet of so many bytes goes on; nothing: never. `chance` makes numbers from 0 up to 1.
    pub fn admit(
        &mut self,
        bytes: usize,
        now: Instant,
        chance: &mut impl FnMut() -> f64,
    ) -> Option<Instant> {
        let mut at = now;
        for state in &mut self.stages {
            at = state.admit(bytes, at, chance)?;
        }
        Some(at)
    }
}

impl State {
    fn admit(
        &mut self,
        bytes: usize,
        now: Instant,
        chance: &mut impl FnMut() -> f64,
    ) -> Option<Instant> {
        let stage = &self.stage;
        if stage.loss > 0.0 && chance() < stage.loss {
            return None;
        }
        let mut at = now;
        if let Some(rate) = stage.rate {
            let wire = |bytes: f64| Duration::from_secs_f64(bytes * 8.0 / rate);
            let begin = self.free.max(now);
            if begin - now > PATIENCE.max(wire(LEAST_ROOM)) {
                return None;
            }
            at = begin + wire(bytes as f64);
            self.free = at;
        }
        let latency = stage.latency + stage.jitter * (2.0 * chance() - 1.0);
        at += Duration::from_secs_f64(latency.max(0.0) / 1000.0);
        self.last = self.last.max(at);
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pipe(stages: serde_json::Value, now: Instant) -> Pipe {
        let mac = "02:00:00:00:00:01";
        let plan = json!({ "via": mac, "from": mac, "to": mac, "stages": stages });
        Pipe::new(serde_json::from_value(plan).unwrap(), None, now)
    }

    fn after(pipe: &mut Pipe, now: Instant, bytes: usize, chance: f64) -> Option<u128> {
        let at = pipe.admit(bytes, now, &mut || chance)?;
        Some((at - now).as_millis())
    }

    #[test]
    fn faults_add_up() {
        let now = Instant::now();
        let stages = json!([
            { "id": "1", "latency": 30 },
            { "id": "2", "rate": 8000, "latency": 5, "loss": 0.1 },
        ]);
        let mut pipe = pipe(stages, now);
        assert_eq!(after(&mut pipe, now, 100, 0.5), Some(135));
        // The wire is busy for as long as the first takes.
        assert_eq!(after(&mut pipe, now, 100, 0.5), Some(235));
        assert_eq!(after(&mut pipe, now, 100, 0.05), None);
    }

    #[test]
    fn jitter_goes_both_ways_and_keeps_the_order() {
        let now = Instant::now();
        let mut pipe = pipe(json!([{ "id": "1", "latency": 50, "jitter": 20 }]), now);
        assert_eq!(after(&mut pipe, now, 100, 0.0), Some(30));
        assert_eq!(after(&mut pipe, now, 100, 1.0), Some(70));
        assert_eq!(after(&mut pipe, now, 100, 0.5), Some(70));
    }

    #[test]
    fn a_wire_that_is_too_busy_loses_what_comes() {
        let now = Instant::now();
        let mut pipe = pipe(json!([{ "id": "1", "rate": 1_000_000 }]), now);
        let passed = (0..1000)
            .filter(|_| after(&mut pipe, now, 1500, 0.5).is_some())
            .count();
        assert!((40..50).contains(&passed), "{passed}");
    }

    #[test]
    fn what_changes_leaves_the_rest_as_it_is() {
        let now = Instant::now();
        let mut before = pipe(json!([{ "id": "1", "rate": 8000 }]), now);
        assert_eq!(after(&mut before, now, 1000, 0.5), Some(1000));
        let plan = pipe(
            json!([{ "id": "2", "latency": 7 }, { "id": "1", "rate": 8000 }]),
            now,
        )
        .plan;
        let mut pipe = Pipe::new(plan, Some(before), now);
        assert_eq!(after(&mut pipe, now, 1000, 0.5), Some(2000));
    }
}
