//! Any order of events against a broker that keeps the rules of idempotence: the promises about every message hold.
//!
//! Every accepted message gets one outcome, reported once; a `written` message is in the log, a `not_written` one is not, and none is
//! there twice; the log is in the order of the calls, and with `gapless` without a gap; every byte returns to the budget; no
//! partition is forgotten or listed twice, and no wake is lost: at each step the I/O thread sleeps no longer than it may.

mod support;

use ottla_core::bytes::compression::codec::Codec;
use ottla_core::ids::Micros;
use proptest::prelude::*;
use support::world::{World, small};

const MILLISECOND: Micros = 1_000;

/// Milliseconds, of the producer and of the topic.
const LINGERS: &[(Micros, Micros)] = &[(5, 5), (0, 7), (5, 1), (40, 5), (0, 0), (5, 0), (2, 30)];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn outcomes_and_log_agree_after_any_events(
        script in proptest::collection::vec((any::<u8>(), any::<u16>()), 1..400),
        codec in prop::sample::select(vec![Codec::None, Codec::Lz4]),
        buffer_kib in prop::sample::select(vec![20, 60, 512]),
        ahead_from in prop::sample::select(vec![0, 120, usize::MAX]),
        keeps_outcomes in any::<bool>(),
        gapless in any::<bool>(),
        linger in prop::sample::select(LINGERS),
        request_bytes in prop::sample::select(vec![400, 900, 4000]),
    ) {
        let mut set = small();
        set.codec = codec;
        set.buffer_bytes = buffer_kib * 1024;
        set.keeps_outcomes = keeps_outcomes;
        set.gapless = gapless;
        set.request_bytes = request_bytes;
        set.linger = linger.0 * MILLISECOND;
        let mut batching = set.batching("t");
        batching.linger = linger.1 * MILLISECOND;
        set.topics.insert("t".into(), batching);
        let mut world = World::new(set, ahead_from);
        for (kind, choice) in script {
            world.step(kind, choice);
            world.inspect();
        }
        world.finish();
    }
}
