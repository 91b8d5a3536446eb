//! Message sets of magic 0 and 1, as old segments still hold them.

use bytes::Bytes;
use ottla_core::bytes::checksum::crc32;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::error::{DecodeError, DecodeErrorKind};
use ottla_core::record::{TimestampType, iter_batches, scan_headers};

use crate::support::{CAP, Rec, compress, read_everything, records_of};

const LEGACY_CODECS: [Codec; 3] = [Codec::Gzip, Codec::Snappy, Codec::Lz4];

struct Message<'a> {
    offset: i64,
    magic: i8,
    attributes: i8,
    timestamp_ms: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut body = vec![self.magic as u8, self.attributes as u8];
        if self.magic == 1 {
            body.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        }
        for field in [self.key, self.value] {
            let len = field.map_or(-1, |field| field.len() as i32);
            body.extend_from_slice(&len.to_be_bytes());
            body.extend_from_slice(field.unwrap_or_default());
        }
        let mut out = self.offset.to_be_bytes().to_vec();
        out.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
        out.extend_from_slice(&crc32(&body).to_be_bytes());
        out.extend_from_slice(&body);
        out
    }
}

fn plain(magic: i8, offset: i64) -> Vec<u8> {
    let value = format!("value {offset} ").repeat(20);
    Message {
        offset,
        magic,
        attributes: 0,
        timestamp_ms: 1000 + offset,
        key: (offset % 2 == 0).then_some(b"key"),
        value: (offset % 3 != 1).then_some(value.as_bytes()),
    }
    .bytes()
}

fn expected(magic: i8, inner: i64, offset: i64) -> Rec {
    Rec {
        offset,
        timestamp_ms: if magic == 1 { 1000 + inner } else { -1 },
        key: (inner % 2 == 0).then(|| b"key".to_vec()),
        value: (inner % 3 != 1).then(|| format!("value {inner} ").repeat(20).into_bytes()),
        headers: Vec::new(),
    }
}

fn wrapper(magic: i8, codec: Codec, offset: i64, inner: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    compress(codec, None, inner, &mut value).expect("compresses");
    if codec == Codec::Lz4 && magic == 0 {
        // The checksum that old clients computed, magic included, differs from the format.
        value[6] ^= 0x5a;
    }
    Message {
        offset,
        magic,
        attributes: codec.id() as i8,
        timestamp_ms: 5000,
        key: None,
        value: Some(&value),
    }
    .bytes()
}

fn decode_all(frame: &[u8]) -> Result<Vec<Rec>, DecodeError> {
    let frame = Bytes::copy_from_slice(frame);
    let mut records = Vec::new();
    for raw in iter_batches(&frame) {
        records.extend(records_of(&raw?.decode(CAP)?)?);
    }
    Ok(records)
}

#[test]
fn plain_messages_are_batches_of_one() {
    for magic in [0, 1] {
        let set: Vec<u8> = (7..12).flat_map(|offset| plain(magic, offset)).collect();
        let wanted: Vec<Rec> = (7..12).map(|i| expected(magic, i, i)).collect();
        assert_eq!(decode_all(&set), Ok(wanted));
        let scan = scan_headers(&set).expect("fine");
        assert_eq!(
            (scan.batches, scan.records, scan.next_offset),
            (5, 5, Some(12))
        );
        let cut = decode_all(&set[..set.len() - 1]).expect("the last is cut");
        assert_eq!(cut.len(), 4);
    }
}

#[test]
fn relative_inner_offsets_of_magic_1_end_at_the_wrappers() {
    let inner: Vec<u8> = (0..5).flat_map(|offset| plain(1, offset)).collect();
    let wanted: Vec<Rec> = (0..5).map(|i| expected(1, i, 96 + i)).collect();
    for codec in LEGACY_CODECS {
        let set = wrapper(1, codec, 100, &inner);
        assert_eq!(decode_all(&set).as_ref(), Ok(&wanted), "{codec:?}");
        assert_eq!(scan_headers(&set).expect("fine").next_offset, Some(101));
    }
}

#[test]
fn compacted_inner_offsets_of_magic_1_keep_their_gaps() {
    let inner: Vec<u8> = [1, 4]
        .into_iter()
        .flat_map(|offset| plain(1, offset))
        .collect();
    let records = decode_all(&wrapper(1, Codec::Gzip, 100, &inner)).expect("decodes");
    assert_eq!(records, [expected(1, 1, 97), expected(1, 4, 100)]);
}

#[test]
fn absolute_inner_offsets_of_magic_0_stay() {
    let inner: Vec<u8> = [90, 91, 95]
        .into_iter()
        .flat_map(|offset| plain(0, offset))
        .collect();
    let wanted: Vec<Rec> = [90, 91, 95]
        .into_iter()
        .map(|i| expected(0, i, i))
        .collect();
    for codec in LEGACY_CODECS {
        let set = wrapper(0, codec, 95, &inner);
        assert_eq!(decode_all(&set).as_ref(), Ok(&wanted), "{codec:?}");
    }
}

#[test]
fn a_right_header_checksum_of_lz4_in_magic_0_is_fine_too() {
    let mut value = Vec::new();
    compress(Codec::Lz4, None, &plain(0, 3), &mut value).expect("compresses");
    let message = Message {
        offset: 3,
        magic: 0,
        attributes: Codec::Lz4.id() as i8,
        timestamp_ms: -1,
        key: None,
        value: Some(&value),
    };
    assert_eq!(decode_all(&message.bytes()), Ok(vec![expected(0, 3, 3)]));
    let message = Message {
        magic: 1,
        ..message
    };
    let mut wrong = value.clone();
    wrong[6] ^= 1;
    let message = Message {
        value: Some(&wrong),
        ..message
    };
    let error = decode_all(&message.bytes()).expect_err("magic 1 has it right");
    assert_eq!(error.kind, DecodeErrorKind::Decompress);
}

#[test]
fn log_append_time_of_the_wrapper_overrides() {
    let inner: Vec<u8> = (0..2).flat_map(|offset| plain(1, offset)).collect();
    let mut value = Vec::new();
    compress(Codec::Gzip, None, &inner, &mut value).expect("compresses");
    for (attributes, wanted) in [(1, [1000, 1001]), (9, [5000, 5000])] {
        let set = Message {
            offset: 1,
            magic: 1,
            attributes,
            timestamp_ms: 5000,
            key: None,
            value: Some(&value),
        }
        .bytes();
        let records = decode_all(&set).expect("decodes");
        assert_eq!(
            records.iter().map(|r| r.timestamp_ms).collect::<Vec<_>>(),
            wanted
        );
    }
}

#[test]
fn bit_3_means_nothing_in_magic_0() {
    let frame = Bytes::from(
        Message {
            offset: 0,
            magic: 0,
            attributes: 8,
            timestamp_ms: -1,
            key: None,
            value: None,
        }
        .bytes(),
    );
    let raw = iter_batches(&frame).next().expect("one").expect("fine");
    assert_eq!(raw.header().timestamp_type(), TimestampType::Create);
}

#[test]
fn mixed_formats_follow_each_other() {
    let mut frame = plain(0, 0);
    frame.extend(plain(1, 1));
    frame.extend(wrapper(1, Codec::Snappy, 2, &plain(1, 0)));
    let mut batch = crate::support::sealed(&crate::support::sample(2), Codec::Zstd).bytes;
    batch[..8].copy_from_slice(&3i64.to_be_bytes());
    frame.extend(batch);
    let records = decode_all(&frame).expect("decodes");
    assert_eq!(
        records.iter().map(|r| r.offset).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
}

#[test]
fn sets_with_wrong_claims_are_refused() {
    let good: Vec<u8> = (0..3).flat_map(|offset| plain(1, offset)).collect();
    let two_deep = wrapper(1, Codec::Gzip, 0, &plain(1, 0));
    let falling = [plain(1, 1), plain(1, 0)].concat();
    for (inner, what) in [
        (&b""[..], "no message"),
        (&good[..good.len() - 1], "a cut message"),
        (&plain(0, 0), "another magic"),
        (&two_deep, "a wrapper in a wrapper"),
        (&falling, "falling offsets"),
        (&plain(1, 200), "an offset past the wrapper's"),
        (&plain(1, -1), "an offset below 0"),
    ] {
        let got = decode_all(&wrapper(1, Codec::Gzip, 100, inner));
        assert!(got.is_err(), "{what}: {got:?}");
    }
    let zstd = decode_all(&wrapper(1, Codec::Zstd, 2, &good)).expect_err("newer than magic 1");
    assert_eq!(zstd.kind, DecodeErrorKind::Unsupported);
    let null = Message {
        offset: 0,
        magic: 1,
        attributes: 1,
        timestamp_ms: 0,
        key: None,
        value: None,
    };
    assert!(decode_all(&null.bytes()).is_err());
}

#[test]
fn checksums_of_both_levels_count() {
    let mut set = plain(1, 0);
    if let Some(last) = set.last_mut() {
        *last ^= 1;
    }
    assert_eq!(
        decode_all(&set).expect_err("outer").kind,
        DecodeErrorKind::Checksum
    );
    let set = wrapper(1, Codec::Lz4, 0, &set);
    assert_eq!(
        decode_all(&set).expect_err("inner").kind,
        DecodeErrorKind::Checksum
    );
}

#[test]
fn hostile_messages_do_not_panic() {
    let inner: Vec<u8> = (0..3).flat_map(|offset| plain(1, offset)).collect();
    for whole in [plain(0, 1), plain(1, 1), wrapper(1, Codec::Gzip, 9, &inner)] {
        for at in 0..whole.len() {
            read_everything(&whole[..at], CAP);
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[at] ^= 1 << bit;
                read_everything(&broken, CAP);
                let crc = crc32(&broken[16..]);
                broken[12..16].copy_from_slice(&crc.to_be_bytes());
                read_everything(&broken, CAP);
            }
        }
    }
    let many = wrapper(1, Codec::Gzip, 1 << 40, &inner);
    assert!(decode_all(&many).is_ok());
}
