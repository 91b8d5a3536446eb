//! Bytes of a faulty broker or wire: an error, never a panic, never an endless loop.

use bytes::Bytes;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::bytes::varint::write_varint;
use ottla_core::error::{DecodeError, DecodeErrorKind};
use ottla_core::record::header::HEADER_LEN;
use ottla_core::record::{BatchHeader, ProducerFields, iter_batches, scan_headers, seal};

use crate::support::{
    CAP, CODECS, Rec, builder, decode, fix_crc, noise, read_everything, records_of, sample, sealed,
    with_header, with_raw_header,
};

fn rich_batch(codec: Codec) -> Vec<u8> {
    let mut records = sample(12);
    records[3].headers = vec![("a".into(), Some(b"b".to_vec())), ("a".into(), None)];
    records[4].key = None;
    records[5].value = None;
    let batch = seal(builder(&records), codec, None, ProducerFields::NONE).expect("seals");
    assert_eq!(batch.codec, codec);
    batch.bytes
}

#[test]
fn truncated_at_every_length_under_a_right_length_and_checksum() {
    for codec in CODECS {
        let whole = rich_batch(codec);
        for len in HEADER_LEN..whole.len() {
            let header = BatchHeader::parse(&whole).expect("a header");
            let cut = with_raw_header(header, &whole[HEADER_LEN..len]);
            assert!(decode(&cut).is_err(), "{codec:?} of {len} bytes");
        }
    }
}

#[test]
fn a_flipped_bit_is_seen_by_the_checksum() {
    let whole = rich_batch(Codec::None);
    for at in 21..whole.len() {
        for bit in 0..8 {
            let mut broken = whole.clone();
            broken[at] ^= 1 << bit;
            let frame = Bytes::from(broken);
            let decoded = iter_batches(&frame).map(|raw| raw.and_then(|raw| raw.decode(CAP)));
            assert!(decoded.flatten().next().is_none(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn flipped_bits_under_a_right_checksum_do_not_panic() {
    for codec in CODECS {
        let whole = rich_batch(codec);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[at] ^= 1 << bit;
                if at >= 21 {
                    fix_crc(&mut broken);
                }
                read_everything(&broken, 1 << 20);
            }
        }
    }
}

#[test]
fn noise_does_not_panic() {
    for seed in 0..2000 {
        let mut bytes = noise(seed, 20 + seed as usize % 300);
        read_everything(&bytes, 1 << 16);
        bytes[16] = (seed % 4) as u8;
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        read_everything(&bytes, 1 << 16);
        if bytes.len() > HEADER_LEN {
            fix_crc(&mut bytes);
            read_everything(&bytes, 1 << 16);
        }
        let _ = scan_headers(&bytes);
    }
}

fn kind_of(batch: &[u8]) -> DecodeErrorKind {
    decode(batch).expect_err("not a batch").kind
}

#[test]
fn invalid_headers_are_refused() {
    let good = sealed(&sample(3), Codec::None).bytes;
    for count in [-1, i32::MIN, 2, 4, i32::MAX] {
        let batch = with_header(&good, |header| header.records_count = count);
        assert!(decode(&batch).is_err(), "count {count}");
    }
    for delta in [-1, i32::MIN, 0, 1] {
        let batch = with_header(&good, |header| header.last_offset_delta = delta);
        assert_eq!(kind_of(&batch), DecodeErrorKind::Corrupt, "delta {delta}");
    }
    let past_the_end = with_header(&good, |header| header.base_offset = i64::MAX - 1);
    assert_eq!(kind_of(&past_the_end), DecodeErrorKind::Corrupt);
    for magic in [3, -1, 127] {
        let mut batch = good.clone();
        batch[16] = magic as u8;
        assert_eq!(
            kind_of(&batch),
            DecodeErrorKind::Unsupported,
            "magic {magic}"
        );
    }
    for codec in 5..8 {
        let batch = with_header(&good, |header| header.attributes = codec);
        assert_eq!(
            kind_of(&batch),
            DecodeErrorKind::Unsupported,
            "codec {codec}"
        );
    }
}

#[test]
fn invalid_lengths_end_the_frame() {
    let good = sealed(&sample(3), Codec::None).bytes;
    for length in [-1, i32::MIN, 0, 1, 48] {
        let mut bytes = good.clone();
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        let frame = Bytes::from(bytes);
        let mut batches = iter_batches(&frame);
        assert!(
            batches.next().is_some_and(|batch| batch.is_err()),
            "{length}"
        );
        assert!(batches.next().is_none(), "an error is the end");
        assert!(scan_headers(&frame).is_err());
    }
    let mut huge = good;
    huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(
        iter_batches(&Bytes::from(huge)).next().is_none(),
        "a cut batch"
    );
}

/// A batch of one record with the given fields.
fn raw_record(length: i32, fields: &[u8]) -> Result<Vec<Rec>, DecodeError> {
    let template = sealed(&sample(1), Codec::None).bytes;
    let header = BatchHeader::parse(&template).expect("a header");
    let mut records = Vec::new();
    write_varint(&mut records, length);
    records.extend_from_slice(fields);
    decode(&with_raw_header(header, &records)).and_then(|batch| records_of(&batch))
}

fn varints(values: &[i32]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        write_varint(&mut out, *value);
    }
    out
}

#[test]
fn fields_of_a_record_stay_inside_it() {
    // attributes, timestamp delta, offset delta, key, value, headers
    let good = varints(&[0, 0, 0, -1, -1, 0]);
    assert!(raw_record(6, &good).is_ok());
    for length in [-1, i32::MIN, 0, 1, 5, 7, 1000, i32::MAX] {
        assert!(raw_record(length, &good).is_err(), "length {length}");
    }
    for size in [-2, i32::MIN, 3, 1000, i32::MAX] {
        for (fields, what) in [
            (varints(&[0, 0, 0, size, -1, 0]), "key"),
            (varints(&[0, 0, 0, -1, size, 0]), "value"),
            (varints(&[0, 0, 0, -1, -1, size]), "header count"),
            (varints(&[0, 0, 0, -1, -1, 1, size, 0]), "header name"),
            (varints(&[0, 0, 0, -1, -1, 1, 0, size]), "header value"),
        ] {
            let got = raw_record(fields.len() as i32, &fields);
            assert!(got.is_err(), "{what} of {size}: {got:?}");
        }
    }
    let null_name = varints(&[0, 0, 0, -1, -1, 1, -1, -1]);
    assert!(raw_record(8, &null_name).is_err());
    let left_over = varints(&[0, 0, 0, -1, -1, 0, 0]);
    assert!(raw_record(7, &left_over).is_err());
    let mut not_utf8 = varints(&[0, 0, 0, -1, -1, 1, 1]);
    not_utf8.extend_from_slice(&[0xff, 1]);
    assert!(raw_record(9, &not_utf8).is_err());
}

#[test]
fn offset_deltas_rise_inside_the_batch() {
    let template = sealed(&sample(2), Codec::None).bytes;
    let header = BatchHeader::parse(&template).expect("a header");
    for (first, second, fine) in [
        (0, 1, true),
        (1, 1, false),
        (1, 0, false),
        (0, 2, false),
        (-1, 0, false),
        (0, i32::MAX, false),
    ] {
        let mut records = Vec::new();
        for delta in [first, second] {
            let fields = varints(&[0, 0, delta, -1, -1, 0]);
            write_varint(&mut records, fields.len() as i32);
            records.extend_from_slice(&fields);
        }
        let got = decode(&with_raw_header(header, &records));
        assert_eq!(got.is_ok(), fine, "{first} {second}");
    }
}

#[test]
fn extreme_times_do_not_overflow() {
    let mut records = sample(2);
    records[0].timestamp_ms = i64::MIN;
    records[1].timestamp_ms = i64::MAX;
    let batch = decode(&sealed(&records, Codec::None).bytes).expect("decodes");
    assert_eq!(records_of(&batch), Ok(records));
}
