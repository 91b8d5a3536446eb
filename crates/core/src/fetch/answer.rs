//! The meaning of a fetch response for each of its partitions.
//!
//! Stations: fetch response → inbox. Runs on the I/O thread under the flow's lock and reads batch headers only. The answer about a
//! partition counts if the partition still has the position that was asked for and still flows over that connection.
//! References: KIP-74, KIP-219, KIP-227, KIP-392, KIP-951.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::fetch::broker::FRAME;
use crate::fetch::filter::{Sifted, sift};
use crate::fetch::flow::{Event, FetchFlow, Flight, HoldCause, Marks, NO_EPOCH};
use crate::fetch::lanes::Kind;
use crate::fetch::session::Verdict;
use crate::fetch::shelf::Entry;
use crate::fetch::wire::{self, Answer, PartitionAnswer};
use crate::ids::{ConnId, Micros, PartId, TopicId};
use crate::seam::BadResponse;

const READ_COMMITTED: i8 = 1;
/// Time of a response from which the network is a long way, or slow.
const LONG_WAY: Micros = 10_000;
/// Time that the bytes of a response are worth there.
const WORTH: Micros = 100_000;
/// First version from which a throttled client itself has to stop sending.
const MUTES_FROM: i16 = 8;

impl FetchFlow {
    pub fn on_response(
        &mut self,
        conn: ConnId,
        token: u64,
        frame: &Bytes,
        now: Micros,
    ) -> Result<(), BadResponse> {
        let Some(known) = self.conns.get_mut(&conn) else {
            return Ok(());
        };
        let version = known.version;
        let Some(flight) = known.flight.take_if(|flight| flight.token == token) else {
            return Err(BadResponse(format!(
                "a Fetch response with the unexpected token {token}"
            )));
        };
        self.counts.responses += 1;
        self.counts.fetched.bytes += frame.len() as u64;
        let (node_id, took) = (known.node, now.saturating_sub(flight.sent));
        let node = self.nodes.entry(node_id).or_default();
        node.fetched.bytes += frame.len() as u64;
        node.latency.record(took, now);
        let response = wire::decode_response(version, frame)
            .map_err(|error| BadResponse(format!("Fetch response v{version}: {error}")))?;
        if response.throttle_time_ms > 0 {
            let time = response.throttle_time_ms;
            // The engine knows a node by the connection that its partitions are routed to.
            let broker = self.brokers.get(&node_id);
            let first = broker.and_then(|broker| broker.conns.first());
            let event = Event::Throttled(first.copied().unwrap_or(conn), time);
            self.events.push(event);
            node.throttle_ms += u64::from(time.unsigned_abs());
            if version >= MUTES_FROM {
                // Not longer than the request time-out: `ProduceFlow::on_response` has the reason.
                let asked = Micros::from(time.unsigned_abs()) * 1000;
                known.muted_until = now.saturating_add(asked.min(self.settings.request_timeout));
            }
        }
        let verdict = known
            .session
            .answered(version, response.code, response.session_id);
        self.end_flight(&flight);
        match verdict {
            Verdict::Fine => {
                let before = self.counts.fetched.batches;
                self.spread(node_id, version, &flight, response.partitions);
                let brought = self.counts.fetched.batches - before;
                self.learn(node_id, &flight, brought, frame.len(), took);
            }
            Verdict::StartOver => {}
            Verdict::Failed => {
                for &part in flight.entries.keys() {
                    if self.node_of(part) == Some(node_id) {
                        self.hold_for_code(part, response.code);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adapts the wait of the node's next reads, and the size of their responses.
    fn learn(&mut self, node: i32, flight: &Flight, brought: u64, bytes: usize, took: Micros) {
        let isolation = self.settings.isolation;
        let mut parts = flight
            .entries
            .keys()
            .filter_map(|part| self.parts.get(part));
        let lags = parts.any(|entry| entry.in_flight.is_none() && entry.is_behind(isolation));
        let Some(broker) = self.brokers.get_mut(&node) else {
            return;
        };
        if matches!(flight.kind, Kind::Read | Kind::Mixed) {
            broker.barren = match lags && brought == 0 {
                true => broker.barren.saturating_add(1),
                false => 0,
            };
            broker.frame = next_frame(broker.frame, bytes, took);
        }
    }

    /// Passes its answer to each partition, once.
    fn spread(&mut self, node: i32, version: i16, flight: &Flight, answers: Vec<PartitionAnswer>) {
        let mut names: HashMap<TopicId, Arc<str>> = HashMap::new();
        for (part, (seek, _)) in &flight.entries {
            let Some(entry) = self.parts.get_mut(part) else {
                continue;
            };
            // A partition that the answer leaves out has nothing new.
            entry.marks.current |= entry.seek == *seek && entry.route.is_some();
            if wire::uses_topic_ids(version) {
                names.insert(entry.id, Arc::clone(&entry.topic));
            }
        }
        for answer in answers {
            let name = names.get(&answer.id).unwrap_or(&answer.name);
            let Some(part) = self.inbox.id_of(name, answer.partition) else {
                continue;
            };
            if let Some(sent) = flight.entries.get(&part) {
                self.answer(part, node, *sent, answer.answer);
            }
        }
    }

    fn answer(&mut self, part: PartId, node: i32, sent: (u64, i64), mut answer: Answer) {
        if self.node_of(part) != Some(node) {
            return;
        }
        let Some(entry) = self.parts.get_mut(&part) else {
            return;
        };
        if entry.seek != sent.0 || entry.offset != Some(sent.1) {
            return;
        }
        if answer.code == 0 {
            entry.marks = Marks {
                high_watermark: answer.high_watermark,
                last_stable_offset: answer.last_stable_offset,
                log_start_offset: answer.log_start_offset,
                current: true,
            };
            let aborted = std::mem::take(&mut answer.aborted);
            let aborted = (self.settings.isolation == READ_COMMITTED).then_some(aborted);
            let sifted = sift(&answer.records, sent.1, aborted);
            self.deliver(part, node, sifted);
        }
        if let Some(cause) = self.cause_to_hold(part, &answer) {
            self.hold_now(part, cause, Some(answer));
        }
    }

    /// Puts the fetched batches into the inbox and moves the offset to fetch past them.
    fn deliver(&mut self, part: PartId, node: i32, sifted: Sifted) {
        let Some(entry) = self.parts.get_mut(&part) else {
            return;
        };
        self.counts.fetched.batches += sifted.batches;
        entry.fetched.batches += sifted.batches;
        entry.fetched.bytes += sifted.entries.iter().map(Entry::size).sum::<u64>();
        if let Some(node) = self.nodes.get_mut(&node) {
            node.fetched.batches += sifted.batches;
        }
        entry.offset = Some(sifted.next_offset);
        entry.fetched_epoch = sifted.epoch.unwrap_or(entry.fetched_epoch);
        entry.dropped &= sifted.batches == 0;
        entry.stuck = sifted.stuck;
        let mut entries = sifted.entries;
        if sifted.batches > 0 {
            entry.fetch_bytes = self.settings.partition_bytes;
        } else if sifted.cut {
            if entry.fetch_bytes == i32::MAX {
                entry.stuck = true;
                let error = DecodeError::too_large("fetched batch", i32::MAX as usize, "more");
                entries.push(Entry::corrupt(error, sifted.next_offset, 0));
            }
            entry.fetch_bytes = entry.fetch_bytes.saturating_mul(2);
        }
        self.inbox.deliver(part, sifted.lead, entries);
    }

    /// The reason why a partition with this answer cannot continue to flow; None: it can.
    fn cause_to_hold(&mut self, part: PartId, answer: &Answer) -> Option<HoldCause> {
        let epoch = self.parts.get(&part)?.leader_epoch;
        if answer.code != 0 {
            return Some(HoldCause::Answer);
        }
        if let Some((epoch, end_offset)) = answer.diverging {
            let fetched_epoch = self.truncate(part, epoch, end_offset);
            return Some(HoldCause::Diverging {
                epoch,
                end_offset,
                fetched_epoch,
            });
        }
        if answer.preferred_read_replica >= 0 {
            return Some(HoldCause::Replica(answer.preferred_read_replica));
        }
        let moved = answer.leader.is_some_and(|(_, newer)| newer > epoch);
        moved.then_some(HoldCause::Answer)
    }

    /// The leader's log has nothing after `end_offset` of this epoch, nor of a later one: drops the fetched batches that are not in
    /// it. Returns the leader epoch of the last record that was handed over or is retained.
    fn truncate(&mut self, part: PartId, epoch: i32, end_offset: i64) -> i32 {
        let from = self.inbox.truncate(part, epoch, end_offset);
        let Some(entry) = self.parts.get_mut(&part) else {
            return NO_EPOCH;
        };
        if let Some((offset, fetched_epoch)) = from {
            entry.offset = Some(offset);
            entry.fetched_epoch = fetched_epoch;
            entry.stuck = false;
        }
        entry.fetched_epoch
    }
}

/// The size of the next response. A megabyte is read and used again cheaply; where it takes long, the network has a long way or is slow,
/// and a response brings about a tenth of a second's worth of bytes.
fn next_frame(frame: usize, bytes: usize, took: Micros) -> usize {
    if bytes < frame / 2 {
        return frame;
    }
    if took < LONG_WAY {
        return (frame / 2).max(FRAME);
    }
    let worth = bytes as u64 * WORTH / took;
    usize::try_from(worth).unwrap_or(usize::MAX).max(FRAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_as_large_as_the_way_is_long() {
        assert_eq!(next_frame(FRAME, FRAME, 500), FRAME);
        let after_one = next_frame(FRAME, FRAME, 50_000);
        assert_eq!(
            after_one,
            2 * FRAME,
            "50 ms away: a megabyte takes half of 100 ms"
        );
        let wide = next_frame(after_one, after_one, 51_000);
        assert!(wide > 3 * FRAME);
        assert_eq!(
            next_frame(wide, 1000, 50_000),
            wide,
            "a small response shows nothing"
        );
        assert_eq!(next_frame(4 * FRAME, 4 * FRAME, 5_000), 2 * FRAME);
        assert_eq!(next_frame(FRAME, FRAME, 1_000_000), FRAME, "a slow network");
    }
}
