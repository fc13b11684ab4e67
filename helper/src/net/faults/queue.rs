//! Packets that wait until they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Bytes that wait at most; what comes then is lost, as in a router without room.
const ROOM: usize = 64 << 20;

#[derive(Default)]
pub struct Queue {
    waiting: BinaryHeap<Reverse<Waiting>>,
    bytes: usize,
    count: u64,
}

struct Waiting {
    due: Instant,
    /// Those that are due at once leave in the order they came.
    number: u64,
    packet: Vec<u8>,
}

impl Queue {
    pub fn push(&mut self, due: Instant, packet: Vec<u8>) {
        if self.bytes + packet.len() > ROOM {
            return;
        }
        self.bytes += packet.len();
        self.count += 1;
        self.waiting.push(Reverse(Waiting {
            due,
            number: self.count,
            packet,
        }));
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(first)| first.due)
    }

    pub fn pop_due(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(Waiting { packet, .. }) = self.waiting.pop()?;
        self.bytes -= packet.len();
        Some(packet)
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn packets_leave_when_they_are_due_and_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = Queue::default();
        for (ms, byte) in [(20, 1), (10, 2), (10, 3)] {
            queue.push(at(ms), vec![byte]);
        }
        assert_eq!(queue.next_due(), Some(at(10)));
        assert_eq!(queue.pop_due(at(9)), None);
        let left: Vec<_> = std::iter::from_fn(|| queue.pop_due(at(20))).collect();
        assert_eq!(left, [[2], [3], [1]]);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn there_is_an_end_to_what_can_wait() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push(now, vec![0; ROOM / 2]);
        }
        assert_eq!(std::iter::from_fn(|| queue.pop_due(now)).count(), 2);
    }
}
