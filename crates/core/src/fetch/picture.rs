//! The picture of a fetch flow: its counts and its contents, by node and by partition.
//!
//! Made on request; it costs the path of a record one addition per batch.

use std::collections::HashMap;

use crate::fetch::flow::{FetchFlow, Part};
use crate::fetch::stats::{NodePicture, PartitionPicture, Picture};
use crate::ids::{Micros, PartId};
use crate::latency::Histogram;

/// The connections of one node, summed up.
#[derive(Default)]
struct Open {
    in_flight: usize,
    muted_until: Micros,
    oldest: Option<Micros>,
}

impl FetchFlow {
    pub fn picture(&mut self, now: Micros) -> Picture {
        let mut latency = Histogram::default();
        let nodes = self.nodes_picture(now, &mut latency);
        let partitions = self.parts.iter();
        let partitions = partitions.filter_map(|(id, part)| self.partition_picture(*id, part));
        Picture {
            requests: self.counts.requests,
            responses: self.counts.responses,
            fetched: self.counts.fetched,
            handed_records: self.inbox.handed,
            holds: self.counts.held,
            buffered_bytes: self.inbox.bytes,
            buffer_bytes: self.settings.buffer_bytes,
            sessions: self.open_sessions(),
            latency: latency.percentiles(),
            nodes,
            partitions: partitions.collect(),
        }
    }

    fn nodes_picture(&mut self, now: Micros, all: &mut Histogram) -> Vec<NodePicture> {
        let mut open: HashMap<i32, Open> = HashMap::new();
        for conn in self.conns.values() {
            let sum = open.entry(conn.node).or_default();
            sum.muted_until = sum.muted_until.max(conn.muted_until);
            if let Some(flight) = &conn.flight {
                sum.in_flight += 1;
                sum.oldest = Some(sum.oldest.map_or(flight.sent, |at| at.min(flight.sent)));
            }
        }
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for (node, stats) in &mut self.nodes {
            let open = open.remove(node).unwrap_or_default();
            let latency = stats.latency.recent(now);
            all.add(&latency);
            nodes.push(NodePicture {
                node: *node,
                address: stats.address.clone(),
                requests: stats.requests,
                in_flight: open.in_flight,
                fetched: stats.fetched,
                throttle_ms: stats.throttle_ms,
                throttled_for: open.muted_until.saturating_sub(now),
                waiting_for: open.oldest.map_or(0, |sent| now.saturating_sub(sent)),
                latency: latency.percentiles(),
            });
        }
        nodes
    }

    fn partition_picture(&self, id: PartId, part: &Part) -> Option<PartitionPicture> {
        let shelf = self.inbox.state(id)?;
        Some(PartitionPicture {
            topic: part.topic.clone(),
            partition: part.number,
            node: self.node_of(id),
            position: shelf.position.unwrap_or(-1),
            high_watermark: part.marks.high_watermark,
            last_stable_offset: part.marks.last_stable_offset,
            buffered_records: shelf.buffered_records,
            buffered_bytes: self.inbox.bytes_of(id),
            handed_records: shelf.handed,
            fetched: part.fetched,
            paused: shelf.paused,
        })
    }

    fn open_sessions(&self) -> usize {
        let open = self.conns.values().filter(|conn| conn.session.is_open());
        open.count()
    }
}
