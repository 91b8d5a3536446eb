//! Batches that cannot be read: they are fetched once more at once, and then after pauses, while all other partitions flow.
//!
//! Station: request. A bit that flipped between broker and client is gone with the second attempt. A batch that is damaged in the log stays an error,
//! which the user gets once per attempt; a seek ends the attempts.

use crate::fetch::flow::{FetchFlow, Retry};
use crate::ids::Micros;

/// Pause before the third attempt; it doubles with each one.
const FIRST_PAUSE: Micros = 1_000_000;
const LONGEST_PAUSE: Micros = 60_000_000;

fn pause_after(attempts: u32) -> Micros {
    let doubled = FIRST_PAUSE << attempts.saturating_sub(2).min(10);
    doubled.min(LONGEST_PAUSE)
}

impl FetchFlow {
    /// Moves the offset of each partition with a fault back to it.
    pub(crate) fn fetch_faults_again(&mut self) {
        for (part, fault) in std::mem::take(&mut self.inbox.faults) {
            let epoch = self.inbox.state(part).map(|state| state.leader_epoch);
            let Some(entry) = self.parts.get_mut(&part) else {
                continue;
            };
            entry.offset = Some(fault.offset);
            entry.fetched_epoch = epoch.unwrap_or(entry.fetched_epoch);
            entry.in_flight = None;
            entry.stuck = fault.attempts > 1;
            if entry.stuck {
                self.retries.push(Retry {
                    part,
                    seek: entry.seek,
                    attempts: fault.attempts,
                    due: None,
                });
                self.wake_io();
            } else {
                self.wake_io_for(part);
            }
        }
    }

    /// Begins the attempts that are due; returns the time of the next one.
    pub(crate) fn retry_faults(&mut self, now: Micros) -> Option<Micros> {
        if self.retries.is_empty() {
            return None;
        }
        for mut retry in std::mem::take(&mut self.retries) {
            let due = *retry.due.get_or_insert(now + pause_after(retry.attempts));
            let Some(entry) = self.parts.get_mut(&retry.part) else {
                continue;
            };
            if entry.seek != retry.seek {
                continue;
            }
            if due > now {
                self.retries.push(retry);
                continue;
            }
            entry.stuck = false;
            self.wake_io_for(retry.part);
        }
        self.retries.iter().filter_map(|retry| retry.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<Micros> = (2..10).map(|n| pause_after(n) / FIRST_PAUSE).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
