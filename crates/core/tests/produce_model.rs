//! Any order of events against a broker that keeps the rules of idempotence: what is promised of every message holds.
//!
//! Every accepted message gets one outcome, told once; what is `written` is in the log and what is `not_written` is not; nothing is
//! there twice; the log is in the order of the calls, and with `gapless` without a hole; every byte comes back to the budget; no wake is lost.

mod support;

use ottla_core::compression::Codec;
use proptest::prelude::*;
use support::world::{World, small};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn outcomes_and_log_agree_whatever_happens(
        script in proptest::collection::vec((any::<u8>(), any::<u16>()), 1..250),
        codec in prop::sample::select(vec![Codec::None, Codec::Lz4]),
        buffer_kib in prop::sample::select(vec![20, 60, 512]),
        beside in prop::sample::select(vec![0, 120, usize::MAX]),
        keeps_outcomes in any::<bool>(),
        gapless in any::<bool>(),
    ) {
        let mut set = small();
        set.codec = codec;
        set.buffer_bytes = buffer_kib * 1024;
        set.keeps_outcomes = keeps_outcomes;
        set.gapless = gapless;
        let mut world = World::new(set, beside);
        for (kind, choice) in script {
            world.step(kind, choice);
        }
        world.finish();
    }
}
