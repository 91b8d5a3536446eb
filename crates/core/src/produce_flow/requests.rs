//! Choosing batches and making requests of them.
//!
//! Stations: batch → outbox → request. I/O thread. Batches are chosen and put into requests under the producer's lock; they are
//! sealed between the two without it. References: KIP-98; Java: `RecordAccumulator.drain`, `Sender.sendProduceRequests`.

use std::sync::Arc;

use bytes::Bytes;

use super::{Content, Entry, Hold, ProduceFlow, Request, sequence_after};
use crate::accumulator::{Settings, sealed_bytes};
use crate::compression::{Compression, Compressor};
use crate::flow::{ConnId, Micros, OutRequest};
use crate::pool::{Fit, Pool, Pooled};
use crate::produce_wire::{self, Head, TopicBatches};
use crate::record::encode::{BatchBuilder, ProducerFields, Tools, seal_with, set_producer_fields};

/// A batch on its way into a request: what is not sealed is sealed without the lock.
pub struct Pick {
    part: usize,
    id: u64,
    topic: Arc<str>,
    topic_id: [u8; 16],
    number: i32,
    content: Content,
    producer: ProducerFields,
    restamp: bool,
    compression: Compression,
    /// It leaves for the first time.
    first: bool,
    /// Its size before it was sealed, where that happened here.
    before: usize,
    /// What its buffer takes; 0: as before.
    held: usize,
}

/// A request whose batches are chosen.
pub struct Plan {
    node: i32,
    version: i16,
    token: u64,
    picks: Vec<Pick>,
}

impl ProduceFlow {
    /// Chooses the batches of the next request on a connection.
    pub fn plan(&mut self, conn: ConnId, now: Micros) -> Option<Plan> {
        let known = self.conns.get(&conn)?;
        if known.requests.len() >= self.acc.settings.in_flight || known.muted_until > now {
            return None;
        }
        let version = known.version;
        let todo = self.take_todo(conn);
        let mut picks: Vec<Pick> = Vec::new();
        let mut room = Room::new(&self.acc.settings, version);
        for &part in &todo {
            let Some(size) = self.ready(part, now) else {
                continue;
            };
            let topic = &self.acc.topics[self.acc.parts[part].topic].name;
            if room.takes(topic, size) {
                if self.acc.parts[part].queue.is_empty() {
                    self.acc.close_to_send(part);
                }
                picks.extend(self.pick(part));
            }
        }
        let chosen: Vec<usize> = picks.iter().map(|pick| pick.part).collect();
        self.put_back(conn, todo, &chosen);
        if picks.is_empty() {
            return None;
        }
        let token = self.next_token;
        self.next_token += 1;
        self.acc.counts.requests += 1;
        let known = self.conns.get_mut(&conn)?;
        let entries = picks
            .iter()
            .map(|pick| Entry {
                part: pick.part,
                id: pick.id,
                topic_id: pick.topic_id,
            })
            .collect();
        known.requests.push_back(Request {
            token,
            sent: now,
            entries,
        });
        let node = known.node;
        self.nodes.entry(node).or_default().requested(now);
        Some(Plan {
            node,
            version,
            token,
            picks,
        })
    }

    /// The size of the partition's next batch, if it may be sent now: at most, where it is not sealed yet.
    pub(super) fn ready(&mut self, part: usize, now: Micros) -> Option<usize> {
        let settings = &self.acc.settings;
        let entry = &self.acc.parts[part];
        let in_flight = if settings.idempotent && !entry.is_proven(now) {
            1
        } else {
            settings.in_flight
        };
        if entry.hold != Hold::No || entry.flight.len() >= in_flight {
            return None;
        }
        if settings.idempotent && entry.identity.is_none() && self.identity.is_none() {
            return None;
        }
        if entry.queue.is_empty() {
            let open = entry.open.as_ref()?;
            if !self.acc.has_lingered(entry, open, now) {
                return None;
            }
            let bytes = open.len_bytes();
            if !self.acc.is_sealed_ahead(part, bytes) && !self.is_too_large_open(part, bytes) {
                return Some(bytes);
            }
            self.acc.close_to_send(part);
        }
        self.fit_next(part);
        let content = &self.acc.parts[part].queue.front()?.content;
        let sent_as_it_is = !matches!(content, Content::Queued(_) | Content::Away);
        sent_as_it_is.then(|| content.len_bytes())
    }

    pub(super) fn pick(&mut self, part: usize) -> Option<Pick> {
        let idempotent = self.acc.settings.idempotent;
        let transactional = self.acc.settings.transactional_id.is_some();
        let base = self.identity;
        let entry = &mut self.acc.parts[part];
        let fresh = idempotent && entry.queue.front()?.sequence.is_none();
        // Before the batch is taken: without an identity it stays.
        let identity = if fresh {
            Some(entry.identity.or(base)?)
        } else {
            None
        };
        let mut batch = entry.queue.pop_front()?;
        let mut restamp = false;
        if let Some((producer_id, epoch)) = identity {
            entry.identity = identity;
            batch.sequence = Some((producer_id, epoch, entry.next_sequence));
            entry.next_sequence = sequence_after(entry.next_sequence, batch.count);
            restamp = true;
        }
        let (producer_id, epoch, base_sequence) = batch.sequence.unwrap_or((-1, -1, -1));
        let first = batch.attempts == 0;
        if !first {
            self.acc.counts.retries += 1;
        } else {
            self.acc.counts.batches += 1;
        }
        batch.attempts += 1;
        batch.sent = true;
        batch.answered = false;
        batch.answer = None;
        let content = match &mut batch.content {
            Content::Sealed(bytes) => Content::Sealed(bytes.clone()),
            // Open, or sealed ahead.
            other => std::mem::replace(other, Content::Away),
        };
        let topic = &self.acc.topics[entry.topic];
        let pick = Pick {
            part,
            id: batch.id,
            topic: topic.name.clone(),
            topic_id: topic.id,
            number: entry.number,
            content,
            producer: ProducerFields {
                producer_id,
                epoch,
                base_sequence,
                transactional,
            },
            restamp,
            compression: topic.batching.set.compression,
            first,
            before: 0,
            held: 0,
        };
        entry.flight.push_back(batch);
        Some(pick)
    }

    /// Takes the sealed bytes back and makes the request; called right after `Plan::seal`, by the same thread.
    pub fn finish(&mut self, plan: Plan, correlation_id: i32, now: Micros) -> OutRequest {
        let mut topics: Vec<TopicBatches<'_>> = Vec::new();
        let mut accounting = 0isize;
        let per_message = self.acc.per_message;
        let node = self.nodes.entry(plan.node).or_default();
        for pick in &plan.picks {
            let Content::Sealed(bytes) = &pick.content else {
                continue;
            };
            let entry = &mut self.acc.parts[pick.part];
            let flight = &mut entry.flight;
            if let Some(batch) = flight.iter_mut().find(|batch| batch.id == pick.id) {
                batch.content = Content::Sealed(bytes.clone());
                if pick.held > 0 {
                    let held = sealed_bytes(batch, pick.held, per_message);
                    accounting += held as isize - batch.accounted as isize;
                    batch.accounted = held;
                }
                for traffic in [&mut self.acc.topics[entry.topic].traffic, &mut node.traffic] {
                    if pick.first {
                        traffic.sent(batch.count, batch.raw, bytes.len());
                    } else {
                        traffic.retries += 1;
                    }
                }
            }
            if pick.before > 0 {
                self.acc.sealed(pick.part, pick.before, bytes.len());
            }
            match topics.iter_mut().find(|topic| *topic.name == *pick.topic) {
                Some(topic) => topic.batches.push((pick.number, bytes.clone())),
                None => topics.push(TopicBatches {
                    name: &pick.topic,
                    id: pick.topic_id,
                    batches: vec![(pick.number, bytes.clone())],
                }),
            }
        }
        // Compression made room, or sealing took what the buffer had left.
        self.acc.weighed_anew(accounting);
        self.acc.wake_room();
        let settings = &self.acc.settings;
        let head = Head {
            version: plan.version,
            correlation_id,
            client_id: &settings.client_id,
            transactional_id: settings.transactional_id.as_deref(),
            acks: settings.acks,
            timeout_ms: i32::try_from(settings.request_timeout / 1000).unwrap_or(i32::MAX),
        };
        OutRequest {
            token: plan.token,
            segments: produce_wire::encode_request(head, &topics),
            deadline: now.saturating_add(settings.request_timeout),
            expects_response: settings.acks != 0,
        }
    }

    pub(super) fn take_request(&mut self, conn: ConnId, token: u64) -> Option<Request> {
        let requests = &mut self.conns.get_mut(&conn)?.requests;
        let position = requests.iter().position(|request| request.token == token)?;
        requests.remove(position)
    }
}

impl Plan {
    /// Seals what is not sealed yet: compression and checksums, without any lock.
    pub fn seal(&mut self, compressor: &mut Compressor, pool: &Arc<Pool>) {
        for pick in &mut self.picks {
            pick.content = match std::mem::replace(&mut pick.content, Content::Away) {
                Content::Open(builder) => Content::Sealed(pick.sealed(builder, compressor, pool)),
                Content::Ready(mut buffer) => {
                    pick.producer.stamp(&mut buffer);
                    Content::Sealed(pooled(buffer, pool))
                }
                Content::Sealed(bytes) if pick.restamp => {
                    // No larger than the one that it was in, of which no more is known here than its bytes.
                    let fit = Fit::within(bytes.len(), bytes.len());
                    let mut buffer = pool.take_empty(fit);
                    buffer.extend_from_slice(&bytes);
                    pick.producer.stamp(&mut buffer);
                    pick.held = buffer.capacity();
                    Content::Sealed(pooled(buffer, pool))
                }
                other => other,
            };
        }
    }
}

impl Pick {
    fn sealed(
        &mut self,
        builder: BatchBuilder,
        compressor: &mut Compressor,
        pool: &Arc<Pool>,
    ) -> Bytes {
        let tools = Tools { compressor, pool };
        match seal_with(tools, builder, self.compression, self.producer) {
            Ok(batch) => {
                if let Some(spare) = batch.spare {
                    pool.give(spare);
                }
                self.before = batch.uncompressed_len;
                self.held = batch.bytes.capacity();
                pooled(batch.bytes, pool)
            }
            // A batch that cannot be sealed goes out empty and the broker refuses it: no message is lost silently.
            Err(_) => Bytes::new(),
        }
    }
}

impl ProducerFields {
    /// Writes them into a sealed batch, which is left as it is only where it is none: the broker refuses that.
    fn stamp(self, buffer: &mut [u8]) {
        let _ = set_producer_fields(buffer, self.producer_id, self.epoch, self.base_sequence);
    }
}

fn pooled(buffer: Vec<u8>, pool: &Arc<Pool>) -> Bytes {
    Bytes::from_owner(Pooled {
        buffer,
        pool: pool.clone(),
    })
}

/// What is left of a request's size.
struct Room {
    version: i16,
    left: usize,
    /// The topics that it has already.
    topics: Vec<Arc<str>>,
}

impl Room {
    fn new(settings: &Settings, version: i16) -> Self {
        let head = produce_wire::head_bytes(
            version,
            &settings.client_id,
            settings.transactional_id.as_deref(),
        );
        Self {
            version,
            left: settings.request_bytes.saturating_sub(head),
            topics: Vec::new(),
        }
    }

    /// Takes a batch of this size if it fits, with what the request needs beside it. One that never would goes alone: the
    /// request is larger then, by no more than that where the batch is of the size that `batch_size` and `Accumulator::largest`
    /// allow.
    fn takes(&mut self, topic: &Arc<str>, bytes: usize) -> bool {
        let known = self.topics.iter().any(|known| Arc::ptr_eq(known, topic));
        let mut whole = bytes + produce_wire::partition_bytes(self.version);
        if !known {
            whole += produce_wire::topic_bytes(self.version, topic);
        }
        if whole > self.left && !self.topics.is_empty() {
            return false;
        }
        self.left = self.left.saturating_sub(whole);
        if !known {
            self.topics.push(topic.clone());
        }
        true
    }
}
