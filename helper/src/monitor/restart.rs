//! Whether, and when, a container that has ended is started again.

use std::time::Duration;

use super::plan::{RestartPlan, RestartWhen};

/// What came before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Restarts so far.
    pub restarts: u32,
    /// Pauses in a row, each twice as long as the one before.
    pub pauses: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub failed: bool,
    pub lasted: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Restart { after: Duration, history: History },
    End,
}

pub fn next(plan: &RestartPlan, history: History, run: Run) -> Next {
    let wanted = match plan.when {
        RestartWhen::Never => false,
        RestartWhen::Failure => run.failed,
        RestartWhen::Always => true,
    };
    let spent = plan
        .max_retries
        .is_some_and(|most| history.restarts >= most);
    if !wanted || spent {
        return Next::End;
    }
    let pauses = match run.lasted >= Duration::from_millis(plan.reset_after) {
        true => 0,
        false => history.pauses,
    };
    let doubled = 1u64
        .checked_shl(pauses)
        .and_then(|factor| plan.delay.checked_mul(factor));
    let after = doubled.map_or(plan.max_delay, |delay| delay.min(plan.max_delay));
    Next::Restart {
        after: Duration::from_millis(after),
        history: History {
            restarts: history.restarts + 1,
            pauses: pauses + 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(when: RestartWhen, max_retries: Option<u32>) -> RestartPlan {
        RestartPlan {
            when,
            max_retries,
            delay: 100,
            max_delay: 60_000,
            reset_after: 10_000,
        }
    }

    fn run(failed: bool, seconds: u64) -> Run {
        Run {
            failed,
            lasted: Duration::from_secs(seconds),
        }
    }

    /// The pauses of so many runs like this one.
    fn pauses(plan: &RestartPlan, run: Run, times: usize) -> Vec<u128> {
        let mut history = History::default();
        let mut pauses = Vec::new();
        for _ in 0..times {
            match next(plan, history, run) {
                Next::Restart {
                    after,
                    history: then,
                } => {
                    pauses.push(after.as_millis());
                    history = then;
                }
                Next::End => break,
            }
        }
        pauses
    }

    #[test]
    fn each_pause_is_twice_as_long_up_to_the_longest() {
        let always = plan(RestartWhen::Always, None);
        assert_eq!(
            pauses(&always, run(false, 0), 12),
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000
            ]
        );
        assert_eq!(pauses(&always, run(false, 0), 200)[199], 60_000);
    }

    #[test]
    fn a_long_run_makes_the_next_pause_the_first() {
        let always = plan(RestartWhen::Always, None);
        assert_eq!(pauses(&always, run(true, 10), 3), [100, 100, 100]);
    }

    #[test]
    fn only_what_the_policy_names_is_restarted() {
        assert_eq!(pauses(&plan(RestartWhen::Never, None), run(true, 0), 1), []);
        let failure = plan(RestartWhen::Failure, Some(2));
        assert_eq!(pauses(&failure, run(false, 0), 1), []);
        assert_eq!(pauses(&failure, run(true, 0), 5), [100, 200]);
        assert_eq!(pauses(&failure, run(true, 20), 5), [100, 100]);
    }
}
