//! Chooses the partitions of the next fetch request, the bytes of each, and the request's wait at the broker.
//!
//! Station: request. The buffer is shared out evenly among the partitions that have a position. A partition is fetched while at
//! most half of its share waits for the user, so that a slow one never takes the buffer space of others and a fast one is fetched
//! in large pieces. References: KIP-74, KIP-227.

use std::collections::HashMap;

use crate::fetch::flow::{FetchFlow, Flight, Part};
use crate::fetch::session::Wanted;
use crate::fetch::wire::{self, FetchPartition, Head};
use crate::ids::{ConnId, Micros, PartId};
use crate::seam::OutRequest;

/// The first wait of a request that leaves out a partition because its share is full.
const SHORT_WAIT: Micros = 2_000;

/// The partitions of the next request of a connection.
#[derive(Default)]
struct Choice {
    wanted: Vec<Wanted>,
    entries: HashMap<PartId, (u64, i64)>,
    /// Maximum bytes of their answers.
    bytes: usize,
    /// Bytes that one partition needs for a batch that did not fit.
    least: usize,
    /// A partition is left out because its share is full.
    full: bool,
}

impl FetchFlow {
    /// The next request on a connection: None if one is in flight, no partition is to be fetched, or the buffer is full.
    pub fn request(
        &mut self,
        conn: ConnId,
        correlation_id: i32,
        now: Micros,
    ) -> Option<OutRequest> {
        let known = self.conns.get(&conn)?;
        if known.flight.is_some() || known.muted_until > now || self.inbox.is_closed() {
            return None;
        }
        let choice = self.choose(conn);
        if choice.wanted.is_empty() {
            return None;
        }
        let max_bytes = self.response_limit(&choice)?;
        let token = self.next_token;
        self.next_token += 1;
        self.counts.requests += 1;
        self.reserved += max_bytes;
        let known = self.conns.get_mut(&conn)?;
        if let Some(node) = self.nodes.get_mut(&known.node) {
            node.requests += 1;
        }
        known.start = (known.start + 1) % known.parts.len().max(1);
        known.patience = if choice.full {
            (known.patience * 2).clamp(SHORT_WAIT, self.settings.max_wait.max(SHORT_WAIT))
        } else {
            self.settings.max_wait
        };
        let wait = known.patience.min(self.settings.max_wait);
        if !choice.full {
            known.patience = 0;
        }
        let named = known.session.next_request(known.version, choice.wanted);
        known.flight = Some(Flight {
            token,
            sent: now,
            reserved: max_bytes,
            entries: choice.entries,
        });
        let head = Head {
            version: known.version,
            correlation_id,
            client_id: &self.settings.client_id,
            rack: &self.settings.rack,
            max_wait_ms: i32::try_from(wait / 1000).unwrap_or(i32::MAX),
            min_bytes: self.settings.min_bytes,
            max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
            isolation: self.settings.isolation,
            session_id: named.session_id,
            session_epoch: named.session_epoch,
        };
        let frame = wire::encode_request(head, &named.topics(), &named.forgotten());
        let patience = self.settings.max_wait + self.settings.request_timeout;
        Some(OutRequest {
            token,
            segments: vec![frame],
            deadline: now.saturating_add(patience),
            expects_response: true,
        })
    }

    /// Maximum bytes of each partition that may wait.
    fn share(&self) -> usize {
        (self.settings.buffer_bytes / self.positioned.max(1)).max(1)
    }

    /// Whether the partition belongs in its connection's next request.
    pub(crate) fn is_fetchable(&self, part: PartId) -> bool {
        let entry = self.parts.get(&part);
        entry.is_some_and(|entry| self.is_willing(part, entry)) && self.is_below_share(part)
    }

    fn is_willing(&self, part: PartId, entry: &Part) -> bool {
        let flows = entry.route.is_some() && !entry.asked;
        flows && entry.offset.is_some() && !entry.stuck && !self.inbox.is_paused(part)
    }

    fn is_below_share(&self, part: PartId) -> bool {
        self.inbox.bytes_of(part) <= self.share() / 2
    }

    fn choose(&self, conn: ConnId) -> Choice {
        let mut choice = Choice::default();
        let Some(known) = self.conns.get(&conn) else {
            return choice;
        };
        let share = self.share();
        let start = known.start.min(known.parts.len());
        let (last, first) = known.parts.split_at(start);
        for &part in first.iter().chain(last) {
            let Some(entry) = self.parts.get(&part) else {
                continue;
            };
            let Some(offset) = entry.offset else {
                continue;
            };
            if !self.is_willing(part, entry) {
                continue;
            }
            if !self.is_below_share(part) {
                choice.full = true;
                continue;
            }
            let asked = usize::try_from(entry.fetch_bytes).unwrap_or(1);
            let raised = entry.fetch_bytes > self.settings.partition_bytes;
            let bytes = if raised {
                choice.least = choice.least.max(asked);
                asked
            } else {
                asked.min(share - self.inbox.bytes_of(part)).max(1)
            };
            choice.bytes = choice.bytes.saturating_add(bytes);
            choice.entries.insert(part, (entry.seek, offset));
            choice.wanted.push(Wanted {
                topic: entry.topic.clone(),
                id: entry.id,
                fetch: FetchPartition {
                    partition: entry.number,
                    current_leader_epoch: entry.leader_epoch,
                    fetch_offset: offset,
                    last_fetched_epoch: entry.fetched_epoch,
                    max_bytes: i32::try_from(bytes).unwrap_or(i32::MAX),
                },
            });
        }
        choice
    }

    /// Maximum size of the answer; None if the free buffer space is too small to be worth a request.
    fn response_limit(&mut self, choice: &Choice) -> Option<usize> {
        let most = usize::try_from(self.settings.max_bytes).unwrap_or(1).max(1);
        let most = most.min(choice.bytes).min(i32::MAX as usize);
        let enough = most.min(self.share().div_ceil(2));
        if self.free_bytes() < enough {
            self.free_buffer(enough);
        }
        let free = self.free_bytes();
        if free < enough {
            self.starved = true;
            return None;
        }
        Some(most.min(free).max(choice.least))
    }

    fn free_bytes(&self) -> usize {
        let used = self.inbox.bytes.saturating_add(self.reserved);
        self.settings.buffer_bytes.max(1).saturating_sub(used)
    }

    /// Drops batches of partitions beyond their share, fetched when there were fewer partitions; they are fetched again.
    fn free_buffer(&mut self, enough: usize) {
        let share = self.share();
        let again = self
            .parts
            .iter()
            .filter(|(_, entry)| entry.deferred.is_none());
        let ids: Vec<PartId> = again.map(|(part, _)| *part).collect();
        for part in ids {
            if self.free_bytes() >= enough {
                return;
            }
            if let Some((offset, epoch)) = self.inbox.trim(part, share)
                && let Some(entry) = self.parts.get_mut(&part)
            {
                entry.offset = Some(offset);
                entry.fetched_epoch = epoch;
                entry.stuck = false;
            }
        }
    }
}
