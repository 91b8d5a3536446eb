//! The lanes of a broker: which of its connections reads, and which one waits for new records.
//!
//! Station: request. A partition is *behind* while its broker has records for it, or may have: its position was just set, or its last
//! answer ended before the end of the log. A request for such partitions waits at no broker. All others have *caught up*: one request
//! waits for their next records, for as long as the settings allow, on a connection of its own. So no partition with records waits for
//! one without, and a seek, a resume or a new partition gets its answer within a round trip. While all partitions are behind, both
//! connections read, each one half of them. Pure: it decides by counts, and `plan` carries out the decision.
//! References: KIP-74, KIP-227.

/// Kind of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Partitions that are behind; no wait.
    Read,
    /// Partitions that are behind, and others because they have no better place; no wait.
    Mixed,
    /// Partitions that have caught up; a long wait.
    Poll,
    /// Partitions that caught up after the poll on the other connection had left; a short wait, so that they soon join it.
    Glance,
}

/// State of the broker's other connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// There is none that could be used.
    Missing,
    /// Without a request; whether the last poll was on it.
    Free {
        polled: bool,
    },
    InFlight(Kind),
}

/// The partitions that a connection could ask for now: no request for them is in flight, and they have free buffer space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub behind: usize,
    pub caught_up: usize,
    /// A partition that is behind has no free buffer space; it gets some as soon as the user takes its records.
    pub full: bool,
}

/// The next request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub kind: Kind,
    /// It leaves half of the partitions that are behind to the other connection.
    pub half: bool,
}

impl Choice {
    const fn all(kind: Kind) -> Option<Self> {
        Some(Self { kind, half: false })
    }

    const HALF: Option<Self> = Some(Self {
        kind: Kind::Read,
        half: true,
    });
}

/// The next request of a connection on which the last poll was (`polled`) or was not; None: it waits for the other connection.
pub fn choose(waiting: Waiting, polled: bool, other: Other) -> Option<Choice> {
    match (waiting.behind > 0, waiting.caught_up > 0) {
        (false, false) => None,
        (true, false) => reads(other),
        (false, true) => polls(waiting.full, other),
        (true, true) => both(polled, other),
    }
}

fn reads(other: Other) -> Option<Choice> {
    match other {
        Other::Free { .. } | Other::InFlight(Kind::Read) => Choice::HALF,
        Other::Missing | Other::InFlight(Kind::Mixed | Kind::Poll | Kind::Glance) => {
            Choice::all(Kind::Read)
        }
    }
}

fn polls(full: bool, other: Other) -> Option<Choice> {
    match other {
        // Nothing else could carry the request for a partition that gets free buffer space.
        Other::Missing if full => Choice::all(Kind::Glance),
        Other::InFlight(Kind::Poll) => Choice::all(Kind::Glance),
        // Soon answered; then all of them are in one poll.
        Other::InFlight(Kind::Glance | Kind::Mixed) => None,
        // The partitions of the last poll are in that connection's session.
        Other::Free { polled: true } => None,
        Other::Missing | Other::Free { polled: false } | Other::InFlight(Kind::Read) => {
            Choice::all(Kind::Poll)
        }
    }
}

fn both(polled: bool, other: Other) -> Option<Choice> {
    match other {
        Other::Missing | Other::InFlight(Kind::Poll) => Choice::all(Kind::Mixed),
        Other::InFlight(Kind::Glance | Kind::Mixed) => Choice::all(Kind::Read),
        Other::InFlight(Kind::Read) => Choice::all(Kind::Poll),
        Other::Free { .. } if polled => Choice::all(Kind::Poll),
        Other::Free { .. } => Choice::all(Kind::Read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(behind: usize, caught_up: usize, polled: bool, other: Other) -> Option<(Kind, bool)> {
        let waiting = Waiting {
            behind,
            caught_up,
            full: false,
        };
        choose(waiting, polled, other).map(|choice| (choice.kind, choice.half))
    }

    const FREE: Other = Other::Free { polled: false };
    const KINDS: [Kind; 4] = [Kind::Read, Kind::Mixed, Kind::Poll, Kind::Glance];

    #[test]
    fn one_connection_carries_all() {
        let alone = |behind, caught_up| chosen(behind, caught_up, true, Other::Missing);
        assert_eq!(alone(0, 0), None);
        assert_eq!(alone(2, 0), Some((Kind::Read, false)));
        assert_eq!(alone(2, 3), Some((Kind::Mixed, false)));
        assert_eq!(alone(0, 3), Some((Kind::Poll, false)));
        let full = Waiting {
            behind: 0,
            caught_up: 1,
            full: true,
        };
        let glance = choose(full, true, Other::Missing).unwrap();
        assert_eq!(glance.kind, Kind::Glance);
    }

    #[test]
    fn two_connections_read_half_each() {
        assert_eq!(chosen(6, 0, false, FREE), Some((Kind::Read, true)));
        let reads = Other::InFlight(Kind::Read);
        assert_eq!(chosen(3, 0, false, reads), Some((Kind::Read, true)));
    }

    #[test]
    fn a_partition_that_is_behind_never_waits_for_a_poll() {
        for kind in KINDS {
            for caught_up in [0, 5] {
                let choice = chosen(1, caught_up, false, Other::InFlight(kind));
                let (chosen, _) = choice.expect("a request");
                // A read is answered at once, and its connection reads the rest then.
                assert!(kind == Kind::Read || chosen == Kind::Read || chosen == Kind::Mixed);
            }
        }
    }

    #[test]
    fn one_connection_polls_while_the_other_one_reads() {
        let free = |polled| Other::Free { polled };
        assert_eq!(chosen(2, 2, true, free(false)), Some((Kind::Poll, false)));
        assert_eq!(chosen(2, 2, false, free(true)), Some((Kind::Read, false)));
        let reads = Other::InFlight(Kind::Read);
        assert_eq!(chosen(2, 2, false, reads), Some((Kind::Poll, false)));
        assert_eq!(chosen(0, 2, false, reads), Some((Kind::Poll, false)));
    }

    #[test]
    fn there_is_one_long_poll_and_latecomers_join_it() {
        let other = Other::InFlight;
        assert_eq!(
            chosen(0, 1, false, other(Kind::Poll)),
            Some((Kind::Glance, false))
        );
        assert_eq!(chosen(0, 4, true, other(Kind::Glance)), None);
        assert_eq!(chosen(0, 4, true, other(Kind::Mixed)), None);
        assert_eq!(chosen(0, 5, false, Other::Free { polled: true }), None);
        assert_eq!(chosen(0, 5, true, FREE), Some((Kind::Poll, false)));
    }
}
