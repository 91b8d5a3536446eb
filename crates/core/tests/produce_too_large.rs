//! A topic with a smaller batch limit than the producer's: the number of requests until the producer knows it.

mod support;

use ottla_core::bytes::compression::codec::Codec;
use ottla_core::produce::event::{Decision, HeldBatch};
use ottla_core::produce::settings::Settings;
use support::frames::{Reply, Sent, SentBatch};
use support::{Producer, offset_of, settings};

/// Batch limit of the topic.
const LIMIT: usize = 10_000;
const BATCH: usize = 100_000;
const MESSAGES: usize = 5_000;

const TOO_LARGE: i16 = 10;
const OUT_OF_ORDER: i16 = 45;

/// The leader of one partition: refuses large batches, and then those out of sequence.
#[derive(Default)]
struct Leader {
    values: Vec<String>,
    refused: usize,
    accepted: usize,
}

impl Leader {
    fn answer(&mut self, batch: &SentBatch) -> Reply {
        if batch.raw.len() > LIMIT {
            self.refused += 1;
            return Reply::error(TOO_LARGE);
        }
        if batch.base_sequence as usize != self.values.len() {
            return Reply::error(OUT_OF_ORDER);
        }
        let offset = self.values.len() as i64;
        self.values.extend(batch.values.iter().cloned());
        self.accepted += 1;
        Reply::ok(offset)
    }

    /// Answers every request, and decides as the outbox does, until none is left.
    fn serve(&mut self, producer: &Producer) {
        loop {
            let sent = producer.requests(1);
            if sent.is_empty() {
                return;
            }
            sent.iter().for_each(|sent| self.reply(producer, sent));
            for held in producer.held() {
                let head = held.batches.first().is_some_and(is_too_large);
                let mut decisions = vec![Decision::Retry; held.batches.len()];
                if head {
                    decisions[0] = Decision::Split;
                }
                producer.release(0, decisions);
            }
        }
    }

    fn reply(&mut self, producer: &Producer, sent: &Sent) {
        let replies: Vec<Reply> = sent
            .batches
            .iter()
            .map(|batch| self.answer(batch))
            .collect();
        producer.respond(1, sent, &replies).unwrap();
    }
}

fn is_too_large(batch: &HeldBatch) -> bool {
    batch
        .answer
        .as_ref()
        .is_some_and(|answer| answer.code == TOO_LARGE)
}

/// 100 bytes of which about half compress.
fn value(number: usize) -> String {
    let mut mixed = number as u64 + 1;
    let noise = (0..44).map(|_| {
        mixed = mixed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(11);
        char::from(b'!' + (mixed >> 57) as u8 % 94)
    });
    format!("{number:06}{}{}", "a".repeat(50), noise.collect::<String>())
}

fn with_codec(codec: Codec) -> Settings {
    Settings {
        codec,
        batch_bytes: BATCH,
        ..settings()
    }
}

/// Half of the messages are in the queue before the first refusal, the other half comes after it.
fn written_by(codec: Codec) -> Leader {
    let producer = Producer::flowing(with_codec(codec), 1);
    let mut leader = Leader::default();
    let mut places = Vec::new();
    for half in 0..2 {
        let from = half * MESSAGES;
        places.extend((from..from + MESSAGES).map(|number| producer.send(0, &value(number))));
        leader.serve(&producer);
    }
    let expected: Vec<String> = (0..2 * MESSAGES).map(value).collect();
    assert_eq!(leader.values, expected, "in order, each once");
    for (offset, place) in places.iter().enumerate() {
        assert_eq!(offset_of(place), Some(offset as i64));
    }
    producer.assert_done();
    leader
}

#[test]
fn one_refused_batch_shows_the_limit_of_the_topic() {
    let leader = written_by(Codec::None);
    // Four are refused until the limit is known, and each time the others in flight.
    assert!(leader.refused <= 20, "{} refused", leader.refused);
    let least = 2 * MESSAGES * 110 / LIMIT;
    assert!(
        leader.accepted <= 3 * least,
        "{} of {least}",
        leader.accepted
    );
}

#[test]
fn compressed_batches_are_split_by_their_real_size() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let leader = written_by(codec);
        assert!(
            leader.refused <= 20,
            "{codec:?}: {} refused",
            leader.refused
        );
        let least = 2 * MESSAGES * 110 / LIMIT;
        assert!(
            leader.accepted <= 2 * least,
            "{codec:?}: {} of {least}",
            leader.accepted
        );
    }
}

/// A broker recognizes a batch by its first and last sequence.
#[test]
fn a_batch_that_may_be_in_the_log_is_not_split() {
    for unanswered in [true, false] {
        let producer = Producer::flowing(with_codec(Codec::None), 2);
        let message = "v".repeat(1_000);
        producer.batch(0, &[message.as_str(); 20]);
        let first = producer.next(1).unwrap();
        producer.refuse(1, &first, if unanswered { 7 } else { 19 });
        producer.one_hold();
        producer.batch(1, &[message.as_str(); 10]);
        let other = producer.next(1).unwrap();
        producer.refuse(1, &other, TOO_LARGE);
        producer.one_hold();
        producer.release(1, vec![Decision::Split]);
        producer.release(0, vec![Decision::Retry]);
        let again = producer.next(1).unwrap();
        let batch = again
            .batches
            .iter()
            .find(|batch| batch.partition == 0)
            .unwrap();
        if unanswered {
            assert_eq!(batch.raw, first.batches[0].raw);
        } else {
            assert!(batch.values.len() < 20, "it would only be refused");
        }
        assert_eq!(batch.base_sequence, 0);
    }
}
