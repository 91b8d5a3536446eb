//! Batches of magic 2: every field encoded and decoded, and the changes that a broker makes.

use bytes::Bytes;
use ottla_core::bytes::checksum::crc32c;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::error::DecodeErrorKind;
use ottla_core::record::header::{CONTROL_BIT, DELETE_HORIZON_BIT, TIMESTAMP_TYPE_BIT};
use ottla_core::record::{
    BatchBuilder, HEADER_LEN, ProducerFields, TimestampType, iter_batches, scan_headers, seal,
    set_producer_fields,
};

use crate::support::{
    CAP, CODECS, Rec, builder, decode, noise, records_of, round_trip, sample, sealed, with_header,
    with_raw_header,
};

fn odd_records() -> Vec<Rec> {
    let mut records = vec![
        Rec::of(0, b""),
        Rec::of(1, b"value"),
        Rec::of(2, &noise(1, 300)),
        Rec::of(3, &vec![b'x'; 1 << 20]),
    ];
    records[0].key = None;
    records[0].value = None;
    records[1].key = Some(Vec::new());
    records[1].headers = vec![
        ("name".into(), Some(b"one".to_vec())),
        ("name".into(), None),
        (String::new(), Some(Vec::new())),
        ("zażółć 🎉".into(), Some(noise(2, 1000))),
    ];
    records[2].timestamp_ms = -1;
    records[3].timestamp_ms = i64::from(i32::MAX) * 4000;
    records
}

#[test]
fn every_field_of_a_record_comes_back_under_every_codec() {
    let records = odd_records();
    for codec in CODECS {
        let batch = sealed(&records, codec);
        assert_eq!(batch.codec, codec);
        assert_eq!(round_trip(&batch.bytes), records, "{codec:?}");
    }
}

#[test]
fn the_bytes_of_a_small_batch_are_those_of_the_format() {
    let mut record = Rec::of(0, b"v");
    record.timestamp_ms = 5;
    record.key = None;
    record.headers = vec![("h".into(), Some(b"w".to_vec()))];
    let batch = sealed(&[record], Codec::None).bytes;
    let records = [22u8, 0, 0, 0, 1, 2, b'v', 2, 2, b'h', 2, b'w'];
    assert_eq!(batch[HEADER_LEN], 22);
    assert_eq!(&batch[HEADER_LEN..], records);
    assert_eq!(batch[..8], 0i64.to_be_bytes());
    assert_eq!(batch[8..12], (49 + 12i32).to_be_bytes());
    assert_eq!(batch[12..16], (-1i32).to_be_bytes());
    assert_eq!(batch[16], 2);
    assert_eq!(batch[17..21], crc32c(&batch[21..]).to_be_bytes());
    assert_eq!(batch[21..23], [0, 0]);
    assert_eq!(batch[27..35], 5i64.to_be_bytes());
    assert_eq!(batch[35..43], 5i64.to_be_bytes());
    assert_eq!(batch[43..57], [0xff; 14]);
    assert_eq!(batch[57..61], 1i32.to_be_bytes());
}

#[test]
fn the_header_has_count_times_producer_and_transaction() {
    let producer = ProducerFields {
        producer_id: 1 << 40,
        epoch: 7,
        base_sequence: i32::MAX,
        transactional: true,
    };
    let mut records = sample(3);
    records[1].timestamp_ms += 1000;
    for codec in CODECS {
        let batch = seal(builder(&records), codec, None, producer).expect("seals");
        let decoded = decode(&batch.bytes).expect("decodes");
        let header = decoded.header();
        assert_eq!(header.codec(), Ok(codec));
        assert!(header.is_transactional() && !header.is_control());
        assert_eq!(header.producer_id, 1 << 40);
        assert_eq!((header.producer_epoch, header.base_sequence), (7, i32::MAX));
        assert_eq!((header.records_count, header.last_offset_delta), (3, 2));
        assert_eq!(header.base_timestamp, records[0].timestamp_ms);
        assert_eq!(header.max_timestamp, records[1].timestamp_ms);
        assert_eq!(header.timestamp_type(), TimestampType::Create);
        assert_eq!(batch.count, 3);
    }
}

#[test]
fn producer_fields_of_a_sealed_batch_change_with_its_checksum() {
    for codec in CODECS {
        let mut batch = sealed(&sample(50), codec).bytes;
        set_producer_fields(&mut batch, 99, 3, 1234).expect("long enough");
        let decoded = decode(&batch).expect("the checksum is right");
        let header = decoded.header();
        assert_eq!(header.producer_id, 99);
        assert_eq!((header.producer_epoch, header.base_sequence), (3, 1234));
        assert_eq!(records_of(&decoded), Ok(sample(50)));
        let direct = ProducerFields {
            producer_id: 99,
            epoch: 3,
            base_sequence: 1234,
            transactional: false,
        };
        let direct = seal(builder(&sample(50)), codec, None, direct).expect("seals");
        assert_eq!(direct.bytes, batch);
    }
    assert!(set_producer_fields(&mut [0; HEADER_LEN - 1], 1, 1, 1).is_err());
}

#[test]
fn batches_that_do_not_compress_are_sent_uncompressed() {
    let records = vec![Rec::of(0, &noise(3, 500))];
    for codec in CODECS {
        let batch = sealed(&records, codec);
        assert_eq!(batch.codec, Codec::None, "{codec:?}");
        assert_eq!(batch.bytes, sealed(&records, Codec::None).bytes);
        assert!(batch.spare.is_none(), "it stays where it is");
    }
}

#[test]
fn a_buffer_is_reused_and_the_spare_one_returned() {
    let mut dirty = noise(4, 10_000);
    dirty.reserve(100_000);
    let capacity = dirty.capacity();
    let mut builder = BatchBuilder::with_buffer(dirty);
    assert!(builder.is_empty() && builder.len_bytes() == HEADER_LEN);
    assert_eq!(
        (builder.base_timestamp(), builder.max_timestamp()),
        (-1, -1)
    );
    for i in 0..100 {
        assert_eq!(builder.append(i, None, Some(&[7; 100]), &[]), i as u32);
    }
    assert_eq!(builder.capacity_bytes(), capacity);
    let uncompressed_len = builder.len_bytes();
    let batch = seal(builder, Codec::Lz4, None, ProducerFields::NONE).expect("seals");
    assert_eq!(batch.uncompressed_len, uncompressed_len);
    assert_eq!(batch.spare.map(|spare| spare.capacity()), Some(capacity));
}

#[test]
fn levels_out_of_range_are_refused() {
    for (codec, level) in [
        (Codec::Gzip, 0),
        (Codec::Gzip, 10),
        (Codec::Gzip, -2),
        (Codec::Zstd, 23),
        (Codec::Zstd, -131_073),
    ] {
        let refused = seal(
            builder(&sample(9)),
            codec,
            Some(level),
            ProducerFields::NONE,
        );
        assert!(refused.is_err(), "{codec:?} {level}");
    }
    for (codec, level) in [
        (Codec::Gzip, -1),
        (Codec::Gzip, 1),
        (Codec::Gzip, 9),
        (Codec::Zstd, 1),
        (Codec::Zstd, -7),
        (Codec::Zstd, 22),
        (Codec::Lz4, 17),
    ] {
        let batch = seal(
            builder(&sample(90)),
            codec,
            Some(level),
            ProducerFields::NONE,
        );
        assert_eq!(round_trip(&batch.expect("seals").bytes), sample(90));
    }
}

#[test]
fn base_offset_and_epoch_are_outside_of_the_checksum() {
    let mut batch = sealed(&sample(3), Codec::Gzip).bytes;
    batch[..8].copy_from_slice(&1000i64.to_be_bytes());
    batch[12..16].copy_from_slice(&5i32.to_be_bytes());
    let decoded = decode(&batch).expect("decodes");
    assert_eq!(decoded.header().partition_leader_epoch, 5);
    assert_eq!(decoded.header().next_offset(), 1003);
    let offsets: Vec<_> = decoded.positions().iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [1000, 1001, 1002]);
    assert_eq!(
        [999, 1000, 1002, 1003].map(|offset| decoded.first_index_at(offset)),
        [0, 0, 2, 3]
    );
}

#[test]
fn log_append_time_is_that_of_every_record() {
    let batch = with_header(&sealed(&sample(3), Codec::Zstd).bytes, |header| {
        header.attributes |= TIMESTAMP_TYPE_BIT;
        header.max_timestamp = 42;
    });
    let decoded = decode(&batch).expect("decodes");
    assert_eq!(decoded.header().timestamp_type(), TimestampType::LogAppend);
    assert!(decoded.positions().iter().all(|p| p.timestamp_ms == 42));
}

#[test]
fn compacted_batches_have_gaps_and_may_be_empty() {
    let whole = sealed(&sample(5), Codec::None).bytes;
    let decoded = decode(&whole).expect("decodes");
    let sizes: Vec<usize> = (0..5).map(|i| record_len(&whole, i)).collect();
    let second = HEADER_LEN + sizes[0];
    let retained = [
        &whole[second..second + sizes[1]],
        &whole[second + sizes[1] + sizes[2]..second + sizes[1..4].iter().sum::<usize>()],
    ]
    .concat();
    let mut header = *decoded.header();
    header.records_count = 2;
    header.base_offset = 10;
    let compacted = decode(&with_raw_header(header, &retained)).expect("gaps are legal");
    let offsets: Vec<_> = compacted.positions().iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [11, 13]);
    assert_eq!(compacted.header().next_offset(), 15);
    assert_eq!(compacted.first_index_at(12), 1);

    header.records_count = 0;
    for codec in CODECS {
        header.attributes = codec.id();
        let empty = decode(&with_raw_header(header, b"")).expect("no records are legal");
        assert!(empty.is_empty() && empty.record(0).is_none());
        assert_eq!(empty.headers(0), Ok(Vec::new()));
        assert_eq!(empty.header().next_offset(), 15);
    }
}

fn record_len(batch: &[u8], index: usize) -> usize {
    let mut reader = ottla_core::bytes::varint::Reader::new(&batch[HEADER_LEN..]);
    for _ in 0..index {
        let len = reader.varint().expect("a length");
        reader.bytes(len as usize).expect("a record");
    }
    let start = reader.position();
    let len = reader.varint().expect("a length");
    reader.position() - start + len as usize
}

#[test]
fn control_and_delete_horizon_bits_are_seen() {
    let batch = with_header(&sealed(&sample(1), Codec::None).bytes, |header| {
        header.attributes |= CONTROL_BIT | DELETE_HORIZON_BIT;
    });
    let decoded = decode(&batch).expect("decodes");
    assert!(decoded.header().is_control() && decoded.header().has_delete_horizon());
    assert_eq!(records_of(&decoded), Ok(sample(1)));
}

#[test]
fn several_batches_and_a_cut_one() {
    let mut frame = sealed(&sample(2), Codec::None).bytes;
    let second = with_header(&sealed(&sample(3), Codec::Snappy).bytes, |header| {
        header.base_offset = 2;
    });
    frame.extend_from_slice(&second);
    let whole_bytes = frame.len();
    frame.extend_from_slice(&second);
    for cut in 0..second.len() {
        let frame = Bytes::copy_from_slice(&frame[..whole_bytes + cut]);
        let batches: Vec<_> = iter_batches(&frame)
            .map(|batch| batch.expect("fine"))
            .collect();
        assert_eq!(batches.len(), 2, "cut at {cut}");
        let scan = scan_headers(&frame).expect("fine");
        assert_eq!((scan.batches, scan.records), (2, 5));
        assert_eq!((scan.next_offset, scan.whole_bytes), (Some(5), whole_bytes));
    }
    assert_eq!(scan_headers(b"").expect("fine"), Default::default());
}

#[test]
fn a_wrong_checksum_names_the_batch() {
    let mut batch = sealed(&sample(3), Codec::None).bytes;
    batch[..8].copy_from_slice(&77i64.to_be_bytes());
    if let Some(last) = batch.last_mut() {
        *last ^= 1;
    }
    let error = decode(&batch).expect_err("one bit differs");
    assert_eq!(error.kind, DecodeErrorKind::Checksum);
    assert_eq!(error.batch_offset, Some(77));
}

#[test]
fn uncompressed_records_alias_the_frame() {
    let frame = Bytes::from(sealed(&sample(3), Codec::None).bytes);
    let raw = iter_batches(&frame).next().expect("one").expect("fine");
    let batch = raw.decode(CAP).expect("decodes");
    let value = batch.bytes(batch.positions()[1].value).expect("a value");
    assert!(frame.as_ptr_range().contains(&value.as_ptr()));
    assert!(
        batch
            .bytes(ottla_core::record::Span {
                start: u32::MAX,
                len: i32::MAX
            })
            .is_none()
    );
}
