//! Whether the container is healthy, as its checks say: Docker's rules, without any input or output.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::layer::base64;

/// Checks that are remembered.
const REMEMBERED: usize = 5;

/// Of what a check says, the first bytes are kept.
pub const OUTPUT: usize = 4096;

/// The exit code of a check that did not come to its end.
pub const NONE: i32 = -1;

/// Times are milliseconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthPlan {
    pub process: Box<RawValue>,
    pub interval: u64,
    pub timeout: u64,
    pub retries: u32,
    pub start_period: u64,
    pub start_interval: u64,
    pub on_unhealthy: OnUnhealthy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnhealthy {
    Nothing,
    Kill,
    Restart,
    Stop,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub status: HealthStatus,
    pub failing_streak: u32,
    /// Newest last.
    pub log: Vec<Check>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

impl Health {
    /// That of a run that begins; what was seen before is remembered.
    pub fn starting(before: Option<Health>) -> Self {
        Health {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: before.map_or_else(Vec::new, |health| health.log),
        }
    }

    /// Takes in the outcome of a check that ended so long after the run began. True when something but the log is
    /// different now.
    pub fn record(&mut self, plan: &HealthPlan, running: Duration, check: Check) -> bool {
        let before = (self.status, self.failing_streak);
        if check.exit_code == 0 {
            self.status = HealthStatus::Healthy;
            self.failing_streak = 0;
        } else if !self.is_in_start_period(plan, running) {
            self.failing_streak += 1;
            if self.failing_streak >= plan.retries.max(1) {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push(check);
        if self.log.len() > REMEMBERED {
            self.log.remove(0);
        }
        before != (self.status, self.failing_streak)
    }

    /// From the end of one check to the beginning of the next.
    pub fn pause(&self, plan: &HealthPlan, running: Duration) -> Duration {
        Duration::from_millis(match self.is_in_start_period(plan, running) {
            true => plan.start_interval,
            false => plan.interval,
        })
    }

    /// Until the first success, at most.
    fn is_in_start_period(&self, plan: &HealthPlan, running: Duration) -> bool {
        self.status == HealthStatus::Starting && running < Duration::from_millis(plan.start_period)
    }
}

impl Check {
    pub fn new(start: String, end: String, exit_code: i32, output: &[u8]) -> Self {
        Check {
            start,
            end,
            exit_code,
            output: base64::encode(&output[..output.len().min(OUTPUT)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::raw;

    fn plan() -> HealthPlan {
        HealthPlan {
            process: raw(&()),
            interval: 30_000,
            timeout: 1000,
            retries: 3,
            start_period: 10_000,
            start_interval: 500,
            on_unhealthy: OnUnhealthy::Nothing,
        }
    }

    fn check(health: &mut Health, second: u64, exit_code: i32) -> (HealthStatus, u32, bool) {
        let check = Check::new(String::new(), String::new(), exit_code, b"");
        let changed = health.record(&plan(), Duration::from_secs(second), check);
        (health.status, health.failing_streak, changed)
    }

    #[test]
    fn failures_do_not_count_while_it_starts() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let mut health = Health::starting(None);
        for second in 1..10 {
            assert_eq!(check(&mut health, second, 1), (Starting, 0, false));
            let pause = health.pause(&plan(), Duration::from_secs(second));
            assert_eq!(pause, Duration::from_millis(500));
        }
        assert_eq!(check(&mut health, 10, 1), (Starting, 1, true));
        assert_eq!(check(&mut health, 40, 1), (Starting, 2, true));
        assert_eq!(check(&mut health, 70, NONE), (Unhealthy, 3, true));
        assert_eq!(check(&mut health, 100, 0), (Healthy, 0, true));
        assert_eq!(check(&mut health, 130, 0), (Healthy, 0, false));
        assert_eq!(health.log.len(), REMEMBERED);
    }

    #[test]
    fn a_success_ends_the_start() {
        use HealthStatus::Healthy;
        let mut health = Health::starting(None);
        assert_eq!(check(&mut health, 1, 0), (Healthy, 0, true));
        assert_eq!(
            health.pause(&plan(), Duration::from_secs(1)),
            Duration::from_secs(30)
        );
        assert_eq!(check(&mut health, 2, 1), (Healthy, 1, true));
        assert_eq!(check(&mut health, 3, 0), (Healthy, 0, true));
    }

    #[test]
    fn a_run_begins_without_the_failures_of_the_last() {
        let mut health = Health::starting(None);
        check(&mut health, 20, 1);
        let next = Health::starting(Some(health));
        assert_eq!((next.failing_streak, next.log.len()), (0, 1));
    }
}
