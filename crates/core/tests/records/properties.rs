//! Round trips of arbitrary records, and arbitrary changes of good batches.

use ottla_core::record::{BatchHeader, HEADER_LEN, ProducerFields, seal};
use proptest::prelude::*;

use crate::support::{
    CODECS, Rec, builder, decode, fix_crc, read_everything, records_of, with_raw_header,
};

fn content() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::weighted(
        0.8,
        prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..40),
            2 => (any::<u8>(), 0..3000usize).prop_map(|(byte, len)| vec![byte; len]),
            1 => proptest::collection::vec(any::<u8>(), 60..140),
        ],
    )
}

fn timestamps() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 1_700_000_000_000..1_700_000_100_000i64,
        1 => any::<i64>(),
        1 => Just(-1),
    ]
}

prop_compose! {
    fn record()(
        timestamp_ms in timestamps(),
        key in content(),
        value in content(),
        headers in proptest::collection::vec((".{0,8}", content()), 0..4),
    ) -> Rec {
        Rec { offset: 0, timestamp_ms, key, value, headers }
    }
}

fn records() -> impl Strategy<Value = Vec<Rec>> {
    proptest::collection::vec(record(), 1..40).prop_map(|mut records| {
        for (offset, record) in (0..).zip(&mut records) {
            record.offset = offset;
        }
        records
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn sealed_records_can_be_decoded(
        records in records(),
        codec in proptest::sample::select(&CODECS[..]),
        producer_id in any::<i64>(),
        epoch in any::<i16>(),
        base_sequence in any::<i32>(),
        transactional in any::<bool>(),
    ) {
        let producer = ProducerFields { producer_id, epoch, base_sequence, transactional };
        let batch = seal(builder(&records), codec, None, producer).expect("seals");
        let decoded = decode(&batch.bytes).expect("decodes");
        prop_assert_eq!(records_of(&decoded).expect("headers"), records);
        let header = decoded.header();
        prop_assert_eq!(header.producer_id, producer_id);
        prop_assert_eq!(header.producer_epoch, epoch);
        prop_assert_eq!(header.base_sequence, base_sequence);
        prop_assert_eq!(header.is_transactional(), transactional);
        prop_assert_eq!(&header.to_bytes()[..], &batch.bytes[..HEADER_LEN]);
    }

    #[test]
    fn changed_batches_do_not_panic(
        records in records(),
        codec in proptest::sample::select(&CODECS[..]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        right_checksum in any::<bool>(),
    ) {
        let mut bytes = seal(builder(&records), codec, None, ProducerFields::NONE).expect("seals").bytes;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if right_checksum {
            fix_crc(&mut bytes);
        }
        read_everything(&bytes, 1 << 20);
    }

    #[test]
    fn any_records_section_is_refused_or_read(
        section in proptest::collection::vec(any::<u8>(), 0..200),
        count in 0..20i32,
        attributes in 0..128i16,
    ) {
        let template = seal(builder(&[]), CODECS[0], None, ProducerFields::NONE).expect("seals").bytes;
        let mut header = BatchHeader::parse(&template).expect("a header");
        header.records_count = count;
        header.attributes = attributes;
        header.last_offset_delta = i32::MAX;
        read_everything(&with_raw_header(header, &section), 1 << 20);
    }
}
