//! Incremental fetch sessions: the partitions that one connection's broker already knows.
//!
//! Station: request. One session per connection; it ends with it. The first request of a session names every partition; each
//! later one only those that are new or have changed, and those to forget. Any error about the session
//! leads back to a full request. References: KIP-227; Java: `FetchSessionHandler`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fetch::wire::{self, FetchPartition, TopicOf};
use crate::ids::TopicId;

/// The epoch of a request that opens a session.
const OPENS: i32 = 0;
/// The epoch of a request outside of any session.
const NO_SESSION: i32 = -1;

const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
const INCONSISTENT_TOPIC_ID: i16 = 103;
const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;

/// A partition as the wire names it, by name and zero id or by id, so that it is forgotten by the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Arc<str>,
    id: TopicId,
    partition: i32,
}

/// A partition that the next request is to fetch.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub topic: Arc<str>,
    pub id: TopicId,
    pub fetch: FetchPartition,
}

#[derive(Debug)]
struct Known {
    fetch: FetchPartition,
    /// Number of the last request that wanted it.
    round: u64,
}

/// The partitions that a request names.
#[derive(Debug, Default)]
pub struct Named {
    pub session_id: i32,
    pub session_epoch: i32,
    include: Vec<Wanted>,
    forget: Vec<Key>,
}

impl Named {
    /// The partitions to name, topic by topic, in the order in which they were wanted.
    pub fn topics(&self) -> Vec<TopicOf<'_, FetchPartition>> {
        let places = self.include.iter();
        grouped(places.map(|wanted| (&wanted.topic, wanted.id, wanted.fetch)))
    }

    pub fn forgotten(&self) -> Vec<TopicOf<'_, i32>> {
        let keys = self.forget.iter();
        grouped(keys.map(|key| (&key.name, key.id, key.partition)))
    }
}

/// Groups by topic: brokers take a second mention of a topic for the whole of it.
fn grouped<'a, T>(places: impl Iterator<Item = (&'a Arc<str>, TopicId, T)>) -> Vec<TopicOf<'a, T>> {
    let mut topics: Vec<TopicOf<'a, T>> = Vec::new();
    let mut index: HashMap<(&'a str, TopicId), usize> = HashMap::new();
    for (name, id, partition) in places {
        let at = *index.entry((name, id)).or_insert_with(|| {
            topics.push(TopicOf {
                name,
                id,
                partitions: Vec::new(),
            });
            topics.len() - 1
        });
        topics[at].partitions.push(partition);
    }
    topics
}

/// The meaning of an answer's head for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// The session has ended; the next request opens another one.
    StartOver,
    /// The error code does not concern the session.
    Failed,
}

#[derive(Debug, Default)]
pub struct Session {
    id: i32,
    epoch: i32,
    known: HashMap<Key, Known>,
    round: u64,
}

impl Session {
    /// The next request for these partitions. To be called once per request that is sent.
    pub fn next_request(&mut self, version: i16, wanted: Vec<Wanted>) -> Named {
        if version < wire::SESSIONS_FROM {
            return Named {
                session_epoch: NO_SESSION,
                include: wanted,
                ..Named::default()
            };
        }
        self.round += 1;
        if self.epoch == OPENS {
            self.known.clear();
        }
        let by_id = wire::uses_topic_ids(version);
        let include = wanted
            .into_iter()
            .filter(|wanted| self.is_news(by_id, wanted))
            .collect();
        Named {
            session_id: self.id,
            session_epoch: self.epoch,
            include,
            forget: self.forget_unwanted(),
        }
    }

    fn is_news(&mut self, by_id: bool, wanted: &Wanted) -> bool {
        let key = Key {
            name: Arc::clone(&wanted.topic),
            id: if by_id { wanted.id } else { [0; 16] },
            partition: wanted.fetch.partition,
        };
        let (fetch, round) = (wanted.fetch, self.round);
        let before = self.known.insert(key, Known { fetch, round });
        before.is_none_or(|before| before.fetch != fetch)
    }

    fn forget_unwanted(&mut self) -> Vec<Key> {
        let round = self.round;
        let mut forget = Vec::new();
        self.known.retain(|key, known| {
            let keep = known.round == round;
            if !keep {
                forget.push(key.clone());
            }
            keep
        });
        forget
    }

    /// Applies an answer's head.
    pub fn answered(&mut self, version: i16, code: i16, session_id: i32) -> Verdict {
        if version < wire::SESSIONS_FROM {
            return if code == 0 {
                Verdict::Fine
            } else {
                Verdict::Failed
            };
        }
        let opening = self.epoch == OPENS;
        match code {
            0 if opening => {
                // Id 0: the broker has no slot for a session; every request is a full one.
                self.id = session_id;
                self.epoch = i32::from(session_id != 0);
                Verdict::Fine
            }
            0 if session_id == self.id => {
                self.epoch = if self.epoch == i32::MAX {
                    1
                } else {
                    self.epoch + 1
                };
                Verdict::Fine
            }
            0 => {
                self.reset(0);
                Verdict::Fine
            }
            // A full request has no session that could be wrong: for it, the code is an ordinary failure.
            _ if opening => {
                self.reset(0);
                Verdict::Failed
            }
            FETCH_SESSION_ID_NOT_FOUND => {
                self.reset(0);
                Verdict::StartOver
            }
            INVALID_FETCH_SESSION_EPOCH | FETCH_SESSION_TOPIC_ID_ERROR | INCONSISTENT_TOPIC_ID => {
                // Naming the id closes the broker's rest of the old session.
                self.reset(self.id);
                Verdict::StartOver
            }
            _ => {
                self.reset(self.id);
                Verdict::Failed
            }
        }
    }

    fn reset(&mut self, id: i32) {
        self.id = id;
        self.epoch = OPENS;
        self.known.clear();
    }

    /// Whether the broker has a session for this connection.
    pub fn is_open(&self) -> bool {
        self.epoch != OPENS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: i16 = 12;

    fn wanted(partition: i32, offset: i64) -> Wanted {
        Wanted {
            topic: Arc::from("t"),
            id: [7; 16],
            fetch: FetchPartition {
                partition,
                current_leader_epoch: 1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                max_bytes: 100,
            },
        }
    }

    fn numbers(named: &Named) -> (Vec<i32>, Vec<i32>) {
        let included = named.topics();
        let numbers = included.iter().flat_map(|topic| &topic.partitions);
        let mut forgotten: Vec<i32> = named
            .forgotten()
            .iter()
            .flat_map(|topic| topic.partitions.clone())
            .collect();
        forgotten.sort_unstable();
        (numbers.map(|fetch| fetch.partition).collect(), forgotten)
    }

    #[test]
    fn only_news_is_named_after_the_first_request() {
        let mut session = Session::default();
        let first = session.next_request(VERSION, vec![wanted(0, 0), wanted(1, 0)]);
        assert_eq!((first.session_id, first.session_epoch), (0, 0));
        assert_eq!(numbers(&first), (vec![0, 1], vec![]));
        assert_eq!(session.answered(VERSION, 0, 9), Verdict::Fine);

        let second = session.next_request(VERSION, vec![wanted(0, 5), wanted(1, 0)]);
        assert_eq!((second.session_id, second.session_epoch), (9, 1));
        assert_eq!(numbers(&second), (vec![0], vec![]));
        session.answered(VERSION, 0, 9);

        let third = session.next_request(VERSION, vec![wanted(2, 0)]);
        assert_eq!(third.session_epoch, 2);
        assert_eq!(numbers(&third), (vec![2], vec![0, 1]));
    }

    #[test]
    fn the_epoch_goes_round_to_one() {
        let mut session = Session {
            id: 9,
            epoch: i32::MAX,
            ..Session::default()
        };
        session.next_request(VERSION, vec![wanted(0, 0)]);
        session.answered(VERSION, 0, 9);
        let next = session.next_request(VERSION, vec![wanted(0, 0)]);
        assert_eq!(next.session_epoch, 1);
    }

    #[test]
    fn what_is_said_against_a_session_leads_to_a_full_request() {
        for (code, id) in [(70, 0), (71, 9), (106, 9), (103, 9)] {
            let mut session = Session::default();
            session.next_request(VERSION, vec![wanted(0, 0)]);
            session.answered(VERSION, 0, 9);
            session.next_request(VERSION, vec![wanted(0, 0)]);
            assert_eq!(session.answered(VERSION, code, 0), Verdict::StartOver);
            let full = session.next_request(VERSION, vec![wanted(0, 0)]);
            assert_eq!((full.session_id, full.session_epoch), (id, 0));
            assert_eq!(numbers(&full), (vec![0], vec![]));
            assert_eq!(session.answered(VERSION, code, 0), Verdict::Failed);
        }
    }

    #[test]
    fn without_a_session_every_request_is_full() {
        let mut session = Session::default();
        for _ in 0..3 {
            let request = session.next_request(VERSION, vec![wanted(0, 0)]);
            assert_eq!((request.session_id, request.session_epoch), (0, 0));
            assert_eq!(numbers(&request), (vec![0], vec![]));
            session.answered(VERSION, 0, 0);
        }
        let mut session = Session::default();
        let request = session.next_request(6, vec![wanted(0, 0)]);
        assert_eq!(numbers(&request), (vec![0], vec![]));
        assert_eq!(session.answered(6, 0, 0), Verdict::Fine);
    }

    #[test]
    fn a_recreated_topic_is_another_one_where_ids_count() {
        let recreated = |version: i16| {
            let mut session = Session::default();
            session.next_request(version, vec![wanted(0, 0)]);
            session.answered(version, 0, 9);
            let mut other = wanted(0, 0);
            other.id = [8; 16];
            numbers(&session.next_request(version, vec![other]))
        };
        assert_eq!(recreated(13), (vec![0], vec![0]));
        assert_eq!(recreated(12), (vec![], vec![]));
    }
}
