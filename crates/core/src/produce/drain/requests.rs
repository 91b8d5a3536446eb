//! Chooses batches and builds requests from them.
//!
//! Stations: batch → outbox → request. I/O thread. Batches are chosen and put into requests under the producer's lock; they are
//! sealed between the two without it. References: KIP-98; Java: `RecordAccumulator.drain`, `Sender.sendProduceRequests`.

use crate::ids::{ConnId, Micros};
use crate::produce::append::charges::sealed_bytes;
use crate::produce::batch::{Attempt, Content, Sequence};
use crate::produce::drain::conn::{Entry, Request};
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::drain::plan::{Pick, Plan, RequestSpace};
use crate::produce::partition::Hold;
use crate::produce::wire::{self, Head, TopicBatches};
use crate::record::encode::ProducerFields;
use crate::seam::OutRequest;

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
        let mut space = RequestSpace::new(&self.acc.settings, version);
        for &part in &todo {
            let Some(size) = self.ready(part, now) else {
                continue;
            };
            let topic = &self.acc.topics[self.acc.parts[part].topic].name;
            if space.takes(topic, size) {
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
        self.nodes.entry(node).or_default().note_request(now);
        Some(Plan {
            node,
            version,
            token,
            picks,
        })
    }

    /// Size of the partition's next batch, if it may be sent now; maximum size where it is not sealed yet.
    pub(super) fn ready(&mut self, part: usize, now: Micros) -> Option<usize> {
        let settings = &self.acc.settings;
        let entry = &self.acc.parts[part];
        let in_flight = if settings.idempotent && !entry.numbering.is_proven(now) {
            1
        } else {
            settings.in_flight
        };
        if entry.hold != Hold::No || entry.flight.len() >= in_flight {
            return None;
        }
        if settings.idempotent && entry.numbering.identity.is_none() && self.identity.is_none() {
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
        self.split_next_if_refused(part);
        let content = &self.acc.parts[part].queue.front()?.content;
        let sent_as_it_is = !matches!(content, Content::Queued(_) | Content::BeingSealed);
        sent_as_it_is.then(|| content.len_bytes())
    }

    pub(super) fn pick(&mut self, part: usize) -> Option<Pick> {
        let idempotent = self.acc.settings.idempotent;
        let transactional = self.acc.settings.transactional_id.is_some();
        let base = self.identity;
        let entry = &mut self.acc.parts[part];
        let fresh = idempotent && entry.queue.front()?.sequence.is_none();
        // Checked before the batch is taken out: without an identity it remains queued.
        let identity = if fresh {
            Some(entry.numbering.identity.or(base)?)
        } else {
            None
        };
        let mut batch = entry.queue.pop_front()?;
        let mut restamp = false;
        if let Some(identity) = identity {
            batch.sequence = Some(entry.numbering.take(identity, batch.count));
            restamp = true;
        }
        let first = !batch.was_sent();
        if !first {
            self.acc.counts.retries += 1;
        } else {
            self.acc.counts.batches += 1;
        }
        batch.attempts += 1;
        batch.attempt = Attempt::InFlight;
        let content = match &mut batch.content {
            Content::Sealed(bytes) => Content::Sealed(bytes.clone()),
            // Not sealed, or sealed ahead.
            other => std::mem::replace(other, Content::BeingSealed),
        };
        let topic = &self.acc.topics[entry.topic];
        let pick = Pick {
            part,
            id: batch.id,
            topic: topic.name.clone(),
            topic_id: topic.id,
            number: entry.number,
            content,
            producer: producer_fields(batch.sequence, transactional),
            restamp,
            compression: topic.batching.set.compression,
            first,
            before: 0,
            held: 0,
        };
        entry.flight.push_back(batch);
        Some(pick)
    }

    /// Stores the sealed batches and builds the request; called right after `Plan::seal`, by the same thread.
    pub fn finish(&mut self, plan: Plan, correlation_id: i32, now: Micros) -> OutRequest {
        let mut topics: Vec<TopicBatches<'_>> = Vec::new();
        let mut accounting = 0isize;
        let per_message = self.acc.memory.per_message();
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
        // Compression released memory, or sealing used more than was charged.
        self.acc.memory.adjust(accounting);
        self.acc.wake_senders();
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
            segments: wire::encode_request(head, &topics),
            deadline: now.saturating_add(settings.request_timeout),
            expects_response: settings.acks != 0,
            answer_bytes: 0,
        }
    }

    pub(super) fn take_request(&mut self, conn: ConnId, token: u64) -> Option<Request> {
        let requests = &mut self.conns.get_mut(&conn)?.requests;
        let position = requests.iter().position(|request| request.token == token)?;
        requests.remove(position)
    }
}

fn producer_fields(sequence: Option<Sequence>, transactional: bool) -> ProducerFields {
    let none = ProducerFields {
        transactional,
        ..ProducerFields::NONE
    };
    sequence.map_or(none, |Sequence { identity, first }| ProducerFields {
        producer_id: identity.producer_id,
        epoch: identity.epoch,
        base_sequence: first,
        transactional,
    })
}
