//! The meaning of a fetch response for each of its partitions.
//!
//! Stations: fetch response → inbox. Runs on the I/O thread under the flow's lock and reads batch headers only. The answer about a
//! partition counts if the partition still has the position that was asked for and still flows over that connection.
//! References: KIP-74, KIP-219, KIP-227, KIP-392, KIP-951.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::fetch::filter::{Sifted, sift};
use crate::fetch::flow::{Event, FetchFlow, HoldCause, Marks, NO_EPOCH};
use crate::fetch::session::Verdict;
use crate::fetch::shelf::Entry;
use crate::fetch::wire::{self, Answer, PartitionAnswer};
use crate::ids::{ConnId, Micros, PartId, TopicId};
use crate::seam::BadResponse;

const READ_COMMITTED: i8 = 1;
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
        self.reserved -= flight.reserved;
        self.counts.responses += 1;
        self.counts.fetched.bytes += frame.len() as u64;
        let node = self.nodes.entry(known.node).or_default();
        node.fetched.bytes += frame.len() as u64;
        node.latency.record(now.saturating_sub(flight.sent), now);
        let response = wire::decode_response(version, frame)
            .map_err(|error| BadResponse(format!("Fetch response v{version}: {error}")))?;
        if response.throttle_time_ms > 0 {
            let time = response.throttle_time_ms;
            self.events.push(Event::Throttled(conn, time));
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
        let mut entries = flight.entries;
        match verdict {
            Verdict::Fine => self.spread(conn, version, &mut entries, response.partitions),
            Verdict::StartOver => {}
            Verdict::Failed => {
                for &part in entries.keys() {
                    if self.is_routed_to(part, conn) {
                        self.hold_for_code(part, response.code);
                    }
                }
            }
        }
        for part in entries.into_keys() {
            self.hold_if_asked(part, conn);
        }
        Ok(())
    }

    /// Passes its answer to each partition, once.
    fn spread(
        &mut self,
        conn: ConnId,
        version: i16,
        entries: &mut HashMap<PartId, (u64, i64)>,
        answers: Vec<PartitionAnswer>,
    ) {
        let mut names: HashMap<TopicId, Arc<str>> = HashMap::new();
        if wire::uses_topic_ids(version) {
            let parts = entries.keys().filter_map(|part| self.parts.get(part));
            names.extend(parts.map(|part| (part.id, Arc::clone(&part.topic))));
        }
        for answer in answers {
            let name = names.get(&answer.id).unwrap_or(&answer.name);
            let Some(part) = self.inbox.id_of(name, answer.partition) else {
                continue;
            };
            if let Some((seek, offset)) = entries.remove(&part) {
                self.answer(part, conn, (seek, offset), answer.answer);
                self.hold_if_asked(part, conn);
            }
        }
    }

    fn answer(&mut self, part: PartId, conn: ConnId, sent: (u64, i64), mut answer: Answer) {
        let Some(entry) = self.parts.get_mut(&part) else {
            return;
        };
        let current = entry.seek == sent.0 && entry.offset == Some(sent.1);
        if !current || entry.route != Some(conn) {
            return;
        }
        if answer.code == 0 {
            entry.marks = Marks {
                high_watermark: answer.high_watermark,
                last_stable_offset: answer.last_stable_offset,
                log_start_offset: answer.log_start_offset,
            };
            let aborted = std::mem::take(&mut answer.aborted);
            let aborted = (self.settings.isolation == READ_COMMITTED).then_some(aborted);
            let sifted = sift(&answer.records, sent.1, aborted);
            self.deliver(part, conn, sifted);
        }
        if let Some(cause) = self.cause_to_hold(part, &answer) {
            self.hold_now(part, cause, Some(answer));
        }
    }

    /// Puts the fetched batches into the inbox and moves the offset to fetch past them.
    fn deliver(&mut self, part: PartId, conn: ConnId, sifted: Sifted) {
        let Some(entry) = self.parts.get_mut(&part) else {
            return;
        };
        self.counts.fetched.batches += sifted.batches;
        entry.fetched.batches += sifted.batches;
        entry.fetched.bytes += sifted.entries.iter().map(Entry::size).sum::<u64>();
        let node = self.conns.get(&conn).map(|conn| conn.node);
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(&node)) {
            node.fetched.batches += sifted.batches;
        }
        entry.offset = Some(sifted.next_offset);
        entry.fetched_epoch = sifted.epoch.unwrap_or(entry.fetched_epoch);
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
