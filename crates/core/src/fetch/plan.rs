//! Chooses the partitions of the next fetch request, the bytes of each, and the request's wait at the broker.
//!
//! Station: request. `lanes` decides what kind of request a connection sends. The buffer is shared out evenly among the partitions that
//! are behind or have batches in the inbox. A partition is fetched while at most half of its share waits for the user, so that a slow
//! one never takes the buffer space of others and a fast one is fetched in large pieces. References: KIP-74, KIP-227.

use std::collections::HashMap;

use crate::fetch::flow::{FetchFlow, Flight, Part};
use crate::fetch::lanes::{self, Kind, Waiting};
use crate::fetch::session::{Named, Wanted};
use crate::fetch::wire::{self, FetchPartition, Head};
use crate::ids::{ConnId, Micros, PartId};
use crate::seam::OutRequest;

/// The first wait of a request that must not wait for long.
const SHORT_WAIT: Micros = 1_000;
/// Wait of a poll that other partitions may have to wait for.
const GLANCE_WAIT: Micros = 5_000;
/// Bytes that are enough for a poll.
const SMALL: usize = 16 * 1024;

/// The partitions that a connection could ask for.
#[derive(Default)]
struct Candidates {
    behind: Vec<PartId>,
    caught_up: Vec<PartId>,
    /// Number of partitions that are behind, those of requests in flight included.
    all_behind: usize,
    full: bool,
}

/// The partitions of the next request.
#[derive(Default)]
struct Chosen {
    wanted: Vec<Wanted>,
    entries: HashMap<PartId, (u64, i64)>,
    /// Maximum bytes of their answers.
    bytes: usize,
    /// Bytes that one partition needs for a batch that did not fit.
    least: usize,
}

impl FetchFlow {
    /// The next request on a connection: None if one is in flight, no partition is to be fetched on it, or the buffer is full.
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
        let node = known.node;
        let (kind, mut parts) = self.choose(conn, node, now)?;
        let mut chosen = self.ask(&parts);
        let mut max_bytes = self.response_limit(node, kind, &chosen);
        if max_bytes.is_none() {
            parts.retain(|part| self.inbox.is_hungry(*part));
            chosen = self.ask(&parts);
            max_bytes = self.limit_for_hungry(node, kind, &chosen);
        }
        let max_bytes = max_bytes?;
        let wait = self.wait_of(node, kind);
        let token = self.next_token;
        self.next_token += 1;
        self.reserved += max_bytes;
        self.count_request(conn, node, kind);
        for part in chosen.entries.keys() {
            if let Some(entry) = self.parts.get_mut(part) {
                entry.in_flight = Some(token);
            }
        }
        let known = self.conns.get_mut(&conn)?;
        let named = known.session.next_request(known.version, chosen.wanted);
        known.flight = Some(Flight {
            token,
            sent: now,
            kind,
            reserved: max_bytes,
            entries: chosen.entries,
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
        Some(self.encoded(token, head, &named, now))
    }

    fn encoded(&self, token: u64, head: Head<'_>, named: &Named, now: Micros) -> OutRequest {
        let frame = wire::encode_request(head, &named.topics(), &named.forgotten());
        let patience = self.settings.max_wait + self.settings.request_timeout;
        OutRequest {
            token,
            segments: vec![frame],
            deadline: now.saturating_add(patience),
            expects_response: true,
            answer_bytes: usize::try_from(head.max_bytes).unwrap_or(0),
        }
    }

    fn count_request(&mut self, conn: ConnId, node: i32, kind: Kind) {
        self.counts.requests += 1;
        if let Some(stats) = self.nodes.get_mut(&node) {
            stats.requests += 1;
        }
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.start = (broker.start + 1) % broker.parts.len().max(1);
            if kind == Kind::Poll {
                broker.poller = Some(conn);
            }
        }
    }

    // ---- which partitions ------------------------------------------------------------------------------------------

    /// Kind and partitions of the connection's next request.
    fn choose(&mut self, conn: ConnId, node: i32, now: Micros) -> Option<(Kind, Vec<PartId>)> {
        self.share_out();
        let mut found = self.candidates(node);
        let polled = self.brokers.get(&node)?.poller == Some(conn);
        let waiting = Waiting {
            behind: found.behind.len(),
            caught_up: found.caught_up.len(),
            full: found.full,
        };
        let choice = lanes::choose(waiting, polled, self.other_than(conn, node, now))?;
        let several = matches!(choice.kind, Kind::Read | Kind::Mixed)
            && found.all_behind + found.caught_up.len() > 1;
        if several || choice.kind == Kind::Glance {
            self.want_lane(node);
        }
        if choice.half {
            let half = found.all_behind.div_ceil(2);
            found.behind.truncate(half);
        }
        let parts = match choice.kind {
            Kind::Read => found.behind,
            Kind::Poll | Kind::Glance => found.caught_up,
            Kind::Mixed => {
                found.behind.append(&mut found.caught_up);
                found.behind
            }
        };
        Some((choice.kind, parts))
    }

    fn candidates(&self, node: i32) -> Candidates {
        let mut found = Candidates::default();
        let Some(broker) = self.brokers.get(&node) else {
            return found;
        };
        let start = broker.start.min(broker.parts.len());
        let (last, first) = broker.parts.split_at(start);
        for &part in first.iter().chain(last) {
            let Some(entry) = self.parts.get(&part) else {
                continue;
            };
            if !self.is_willing(part, entry) {
                continue;
            }
            let behind = entry.is_behind(self.settings.isolation);
            if !self.is_below_share(part) {
                found.full |= behind;
                continue;
            }
            found.all_behind += usize::from(behind);
            match entry.in_flight {
                Some(_) => {}
                None if behind => found.behind.push(part),
                None => found.caught_up.push(part),
            }
        }
        found
    }

    /// Whether the partition belongs in a request.
    pub(crate) fn is_fetchable(&self, part: PartId) -> bool {
        let entry = self.parts.get(&part);
        let waits = |entry: &Part| entry.in_flight.is_none() && self.is_willing(part, entry);
        entry.is_some_and(waits) && self.is_below_share(part)
    }

    fn is_willing(&self, part: PartId, entry: &Part) -> bool {
        let flows = entry.route.is_some() && entry.offset.is_some();
        let dropped = entry.dropped && !self.inbox.is_hungry(part) && self.is_half_full();
        flows && !entry.stuck && !dropped && !self.inbox.is_paused(part)
    }

    fn is_half_full(&self) -> bool {
        self.free_bytes() < self.settings.buffer_bytes / 2
    }

    fn ask(&self, parts: &[PartId]) -> Chosen {
        let mut chosen = Chosen::default();
        for &part in parts {
            let Some(entry) = self.parts.get(&part) else {
                continue;
            };
            let Some(offset) = entry.offset else {
                continue;
            };
            let asked = usize::try_from(entry.fetch_bytes).unwrap_or(1);
            let raised = entry.fetch_bytes > self.settings.partition_bytes;
            let bytes = if raised {
                chosen.least = chosen.least.max(asked);
                asked
            } else {
                let free = self.share.saturating_sub(self.inbox.bytes_of(part));
                asked.min(free).max(1)
            };
            chosen.bytes = chosen.bytes.saturating_add(bytes);
            chosen.entries.insert(part, (entry.seek, offset));
            chosen.wanted.push(Wanted {
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
        chosen
    }

    // ---- how long, and how much ------------------------------------------------------------------------------------

    fn wait_of(&self, node: i32, kind: Kind) -> Micros {
        let barren = self.brokers.get(&node).map_or(0, |broker| broker.barren);
        let most = self.settings.max_wait;
        match kind {
            Kind::Poll => most,
            Kind::Glance => GLANCE_WAIT.min(most),
            Kind::Read | Kind::Mixed if barren == 0 => 0,
            // The broker has records that it does not give; its answers must not be asked for without a pause.
            Kind::Read | Kind::Mixed => {
                let doubled = SHORT_WAIT.saturating_mul(1 << barren.min(20));
                doubled.min(most)
            }
        }
    }

    /// Divides the buffer among the partitions that need it. All that have caught up have one part together, for their next records.
    fn share_out(&mut self) {
        let isolation = self.settings.isolation;
        let (mut several, mut caught_up) = (0, 0);
        for (part, entry) in &self.parts {
            if self.inbox.is_paused(*part) || entry.offset.is_none() {
                continue;
            }
            let wants = entry.is_behind(isolation) && !entry.stuck;
            if wants || self.inbox.bytes_of(*part) > 0 {
                several += 1;
            } else {
                caught_up = 1;
            }
        }
        self.share = (self.settings.buffer_bytes / (several + caught_up).max(1)).max(1);
    }

    fn is_below_share(&self, part: PartId) -> bool {
        self.inbox.bytes_of(part) <= self.share / 2
    }

    /// Maximum size of the answer; None if the free buffer space is too small to be worth a request.
    fn response_limit(&mut self, node: i32, kind: Kind, chosen: &Chosen) -> Option<usize> {
        let (most, enough) = self.wanted_bytes(node, kind, chosen)?;
        if self.free_bytes() < enough {
            self.drop_paused(enough);
        }
        if self.free_bytes() < enough {
            self.drop_beyond_share(enough);
        }
        self.limit(chosen, most, enough)
    }

    /// Like `response_limit`, for partitions whose takers have nothing: batches that nobody takes are dropped for them.
    fn limit_for_hungry(&mut self, node: i32, kind: Kind, chosen: &Chosen) -> Option<usize> {
        if chosen.entries.is_empty() {
            return None;
        }
        let (most, enough) = self.wanted_bytes(node, kind, chosen)?;
        self.drop_untaken(enough);
        self.limit(chosen, most, enough)
    }

    /// The most bytes that are worth a request of these partitions, and the fewest.
    fn wanted_bytes(&self, node: i32, kind: Kind, chosen: &Chosen) -> Option<(usize, usize)> {
        let frame = self.brokers.get(&node)?.frame;
        let each = self.settings.buffer_bytes / (2 * self.conns.len()).max(2);
        let most = usize::try_from(self.settings.max_bytes).unwrap_or(1);
        let most = most.min(frame).min(each).min(chosen.bytes).max(1);
        let poll = matches!(kind, Kind::Poll | Kind::Glance);
        let least = if poll { SMALL } else { self.share.div_ceil(2) };
        Some((most, most.min(least)))
    }

    fn limit(&mut self, chosen: &Chosen, most: usize, enough: usize) -> Option<usize> {
        let free = self.free_bytes();
        self.starved |= free < enough;
        (free >= enough).then(|| most.min(free).max(chosen.least))
    }

    fn free_bytes(&self) -> usize {
        let used = self.inbox.bytes.saturating_add(self.reserved);
        self.settings.buffer_bytes.max(1).saturating_sub(used)
    }

    // ---- batches that are dropped, and fetched again ---------------------------------------------------------------

    /// A paused partition needs none of its batches: `resume` has them fetched again.
    fn drop_paused(&mut self, enough: usize) {
        self.drop_batches(enough, |flow, part| {
            flow.inbox.is_paused(part).then_some((0, 0))
        });
    }

    /// Batches fetched when there were fewer partitions.
    fn drop_beyond_share(&mut self, enough: usize) {
        let share = self.share;
        self.drop_batches(enough, |_, _| Some((share, 1)));
    }

    /// Batches without a taker. They are fetched again once there is one, or half of the buffer is free.
    fn drop_untaken(&mut self, enough: usize) {
        self.drop_batches(enough, |flow, part| {
            (!flow.inbox.is_hungry(part)).then_some((0, 0))
        });
    }

    /// Trims each partition to the bytes and batches that `keep` returns for it, until there is enough free buffer space.
    fn drop_batches(
        &mut self,
        enough: usize,
        keep: impl Fn(&Self, PartId) -> Option<(usize, usize)>,
    ) {
        // A deferred hold follows its batches; without them it would come too early.
        let again = self
            .parts
            .iter()
            .filter(|(_, entry)| entry.deferred.is_none());
        let ids: Vec<PartId> = again.map(|(part, _)| *part).collect();
        for part in ids {
            if self.free_bytes() >= enough {
                return;
            }
            let Some((most, least)) = keep(self, part) else {
                continue;
            };
            if let Some((offset, epoch)) = self.inbox.trim(part, most, least)
                && let Some(entry) = self.parts.get_mut(&part)
            {
                entry.offset = Some(offset);
                entry.fetched_epoch = epoch;
                entry.in_flight = None;
                entry.stuck = false;
                entry.dropped = least == 0;
            }
        }
    }
}
