//! The partition of a message that names none: by its key's hash, in turn, at random, or sticky.
//!
//! Station: partition, between message and accumulator. Pure: randomness, queue lengths and time come from the caller. Runs
//! in the caller's thread under the producer's lock. References: KIP-480, KIP-794, KIP-1123; Java: `BuiltInPartitioner`,
//! `RoundRobinPartitioner`; librdkafka: `rdkafka_msg.c`; sarama: `partitioner.go`.

use crate::ids::Micros;
use crate::partitioning::key_hash::{crc32, fnv1a_positive};
use crate::partitioning::murmur2::partition_for_key;
use crate::record::header::HEADER_LEN;

/// Minimum bytes of a visit: messages without a key stay at a partition for at least as much. It is Java's `batch.size`, for which
/// KIP-794 was made. A larger batch makes longer visits where messages come fast enough to fill it.
pub const VISIT_BYTES: usize = 16 * 1024;

/// The rule for messages with a key and for those without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partitioner {
    /// Java's: murmur2 of the key; messages without one are sticky (KIP-794).
    #[default]
    Default,
    /// The same with every key ignored (`partitioner_ignore_keys`).
    IgnoreKeys,
    /// librdkafka's: no key is hashed like an empty one.
    Murmur2,
    Consistent,
    /// librdkafka's default: an empty key counts as none.
    ConsistentRandom,
    Fnv1a,
    /// librdkafka's `fnv1a_random` and sarama's hash.
    Fnv1aRandom,
    RoundRobin,
    Random,
    /// A function of the application; it chooses before the message is appended.
    User,
}

impl Partitioner {
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "default" | "murmur2_random" => Self::Default,
            "ignore_keys" => Self::IgnoreKeys,
            "murmur2" => Self::Murmur2,
            "consistent" => Self::Consistent,
            "consistent_random" => Self::ConsistentRandom,
            "fnv1a" => Self::Fnv1a,
            "fnv1a_random" | "sarama_hash" => Self::Fnv1aRandom,
            "round_robin" => Self::RoundRobin,
            "random" => Self::Random,
            "user" => Self::User,
            _ => return None,
        })
    }
}

/// The choice of a partitioner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one of all partitions, with a leader or without: a key stays at its partition.
    Hashed(usize),
    /// Any partition: the sticky one.
    Sticky,
    /// The next partition that has a leader.
    InTurn,
    /// Any partition that has a leader, chosen for each message.
    AtRandom,
}

/// Chooses for a message. `partitions` is at least 1.
#[inline(always)]
pub fn choose(partitioner: Partitioner, key: Option<&[u8]>, partitions: usize) -> Choice {
    match (partitioner, key) {
        (Partitioner::Default, Some(key)) => {
            Choice::Hashed(partition_for_key(key, partitions as i32) as usize)
        }
        (Partitioner::Default | Partitioner::IgnoreKeys, _) => Choice::Sticky,
        _ => choose_as_others(partitioner, key, partitions),
    }
}

fn choose_as_others(partitioner: Partitioner, key: Option<&[u8]>, partitions: usize) -> Choice {
    let hashed = |hash: u32| Choice::Hashed(hash as usize % partitions.max(1));
    let bytes = key.unwrap_or_default();
    match partitioner {
        Partitioner::Murmur2 => {
            Choice::Hashed(partition_for_key(bytes, partitions as i32) as usize)
        }
        Partitioner::Consistent => hashed(crc32(bytes)),
        Partitioner::ConsistentRandom if !bytes.is_empty() => hashed(crc32(bytes)),
        Partitioner::Fnv1a => hashed(fnv1a_positive(bytes)),
        Partitioner::Fnv1aRandom if key.is_some() => hashed(fnv1a_positive(bytes)),
        Partitioner::RoundRobin => Choice::InTurn,
        Partitioner::Random => Choice::AtRandom,
        Partitioner::Default
        | Partitioner::IgnoreKeys
        | Partitioner::ConsistentRandom
        | Partitioner::Fnv1aRandom
        | Partitioner::User => Choice::Sticky,
    }
}

/// Random numbers that only have to spread (xorshift64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `limit`, which is at least 1.
    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// The visit of messages without a key to one partition of a topic.
#[derive(Debug, Default)]
pub struct Sticky {
    visited: Option<usize>,
    bytes: usize,
}

impl Sticky {
    /// The partition of the current visit for a message of this size; None where the visit has ended. A visit ends with a batch
    /// (`takes`: whether the open batch can take the message), so that no batch leaves half filled because of it. It does not end
    /// with every small batch that has lingered: a slow broker's batches stay open longer, and it would get more than its share
    /// (KIP-794).
    #[inline(always)]
    pub fn stays(
        &self,
        size: usize,
        batch_bytes: usize,
        takes: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let part = self.visited?;
        let short = self.bytes + size + HEADER_LEN < VISIT_BYTES.min(batch_bytes);
        (short || takes(part)).then_some(part)
    }

    pub fn visited(&self) -> Option<usize> {
        self.visited
    }

    pub fn visit(&mut self, part: usize) {
        self.visited = Some(part);
        self.bytes = 0;
    }

    /// Counts any message of a partition: a visit ends earlier where keyed messages fill the same batch.
    #[inline(always)]
    pub fn appended(&mut self, part: usize, bytes: usize) {
        if self.visited == Some(part) {
            self.bytes += bytes;
        }
    }

    /// Ends the visit of a partition that is not among these: it has no leader now.
    pub fn keep_to(&mut self, available: &[usize]) {
        if self.visited.is_some_and(|part| !available.contains(&part)) {
            self.visited = None;
        }
    }
}

/// The queue of one partition that the next visit may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Number of batches that wait to be sent.
    pub batches: usize,
    /// The connection to its leader, if it has one.
    pub leader: Option<u64>,
    /// Time since which the oldest of them could have been sent; None: none is ready.
    pub ready: Option<Micros>,
    /// Whether its leader is in the client's rack.
    pub near: bool,
}

/// Index of the next partition in `loads`: the more batches wait for a partition, the less likely it is.
///
/// `overdue`: a leader that could not be sent to since this moment, though it had ready batches, is left out with all its
/// partitions, unless no others are left. Of the rest the near ones come before all others, as in Java: a leader in the client's
/// rack that accepts nothing is no reason to wait for it.
pub fn adaptive(loads: &[Load], overdue: Option<Micros>, random: &mut Random) -> usize {
    let late = |load: &Load| {
        load.ready
            .is_some_and(|ready| overdue.is_some_and(|limit| ready < limit))
    };
    let stalled: Vec<u64> = loads
        .iter()
        .filter(|load| late(load))
        .filter_map(|load| load.leader)
        .collect();
    let left_out =
        |load: &Load| late(load) || load.leader.is_some_and(|leader| stalled.contains(&leader));
    let mut kept: Vec<usize> = (0..loads.len())
        .filter(|index| !left_out(&loads[*index]))
        .collect();
    if kept.is_empty() {
        kept.extend(0..loads.len());
    }
    if kept.iter().any(|index| loads[*index].near) {
        kept.retain(|index| loads[*index].near);
    }
    kept[by_queue(
        &kept
            .iter()
            .map(|index| loads[*index].batches)
            .collect::<Vec<_>>(),
        random,
    )]
}

/// Java's cumulative frequency table: the longest queue has weight 1, each batch less adds one.
fn by_queue(queues: &[usize], random: &mut Random) -> usize {
    let longest = queues.iter().max().copied().unwrap_or(0);
    let mut sum = 0;
    let table: Vec<usize> = queues
        .iter()
        .map(|queue| {
            sum += longest + 1 - queue;
            sum
        })
        .collect();
    let drawn = random.below(sum);
    table.partition_point(|upper| *upper <= drawn)
}
