//! Whether the kernel killed something in a cgroup for want of memory.

use std::path::Path;

use super::kill::children;
use super::read;

/// How often, in this cgroup and below.
pub fn oom_kills(directory: &Path) -> u64 {
    // v2 counts for the whole subtree; v1 for each cgroup alone.
    if let Ok(events) = read(directory, "memory.events") {
        return count(&events);
    }
    // Without this file the controller is not here, so not below either.
    let Ok(control) = read(directory, "memory.oom_control") else {
        return 0;
    };
    let below = children(directory);
    count(&control) + below.iter().map(|child| oom_kills(child)).sum::<u64>()
}

fn count(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_versions() {
        assert_eq!(
            count("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"),
            1
        );
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
    }
}
