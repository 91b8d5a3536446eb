//! The codecs beyond the plain round trip: framings of other clients, caps, and hostile streams.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::bytes::compression::decompress::decompress;
use ottla_core::error::DecodeErrorKind;

use crate::support::{CODECS, compress, noise};

fn packed(codec: Codec, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, None, data, &mut out).expect("compresses");
    out
}

fn text(len: usize) -> Vec<u8> {
    let words = b"the way of a record goes from the message to the broker and back; ";
    let mut text: Vec<u8> = words.iter().copied().cycle().take(len).collect();
    for (i, byte) in text.iter_mut().enumerate().step_by(97) {
        *byte = (i / 97) as u8;
    }
    text
}

#[test]
fn names_and_numbers_of_codecs() {
    for codec in CODECS {
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
        assert_eq!(Codec::from_attributes(codec.id() | !7), Ok(codec));
    }
    assert_eq!(Codec::from_name("brotli"), None);
    for id in 5..8 {
        let error = Codec::from_attributes(id).expect_err("no such codec");
        assert_eq!(error.kind, DecodeErrorKind::Unsupported);
    }
}

#[test]
fn every_size_comes_back() {
    for codec in CODECS {
        for len in [
            0,
            1,
            15,
            32 << 10,
            (32 << 10) + 1,
            64 << 10,
            (64 << 10) + 1,
            300_000,
        ] {
            for data in [text(len), noise(len as u64, len)] {
                let bytes = packed(codec, &data);
                assert_eq!(decompress(codec, &bytes, len), Ok(data), "{codec:?} {len}");
            }
        }
    }
}

#[test]
fn one_byte_over_the_cap_is_refused() {
    for codec in CODECS {
        for len in [1, 1000, 32 << 10, 200_000] {
            let bytes = packed(codec, &text(len));
            let error = decompress(codec, &bytes, len - 1).expect_err("over the cap");
            assert_eq!(error.kind, DecodeErrorKind::TooLarge, "{codec:?} {len}");
            let error = decompress(codec, &bytes, 0).expect_err("over the cap");
            assert_eq!(error.kind, DecodeErrorKind::TooLarge, "{codec:?} {len}");
        }
    }
}

#[test]
fn a_stream_cut_anywhere_is_refused() {
    let data = text(70_000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = packed(codec, &data);
        for cut in (0..bytes.len())
            .step_by(13)
            .chain(bytes.len() - 40..bytes.len())
        {
            let got = decompress(codec, &bytes[..cut], 1 << 20);
            // A xerial stream has no end mark: cut between blocks it is a shorter one.
            let shorter =
                codec == Codec::Snappy && got.as_ref().is_ok_and(|got| data.starts_with(got));
            assert!(got.is_err() || shorter, "{codec:?} cut at {cut}");
        }
    }
}

#[test]
fn joined_streams_are_read_to_the_end() {
    let (one, two) = (text(100_000), noise(5, 70_000));
    let both = [&one[..], &two].concat();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = [packed(codec, &one), packed(codec, &two)].concat();
        assert_eq!(
            decompress(codec, &bytes, 170_000).as_ref(),
            Ok(&both),
            "{codec:?}"
        );
        assert!(decompress(codec, &bytes, 169_999).is_err());
    }
}

#[test]
fn bytes_after_a_stream_are_refused() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut bytes = packed(codec, &text(1000));
        bytes.extend_from_slice(b"behind");
        let error = decompress(codec, &bytes, 1 << 20).expect_err("garbage");
        assert_ne!(error.kind, DecodeErrorKind::TooLarge, "{codec:?}");
    }
}

#[test]
fn raw_snappy_is_read_like_xerial() {
    let data = text(100_000);
    let raw = snap::raw::Encoder::new()
        .compress_vec(&data)
        .expect("compresses");
    assert_eq!(
        decompress(Codec::Snappy, &raw, data.len()).as_ref(),
        Ok(&data)
    );
    assert!(decompress(Codec::Snappy, &raw, data.len() - 1).is_err());
    let xerial = packed(Codec::Snappy, &data);
    assert_eq!(xerial[..8], *b"\x82SNAPPY\0");
    assert_eq!(xerial[8..16], [0, 0, 0, 1, 0, 0, 0, 1]);
}

fn lz4_frame(info: FrameInfo, data: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn lz4_frames_of_every_kind_are_read() {
    let data = [text(200_000), noise(6, 100_000), text(5_000_000)].concat();
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ] {
            for sums in [false, true] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(sums)
                    .content_checksum(sums)
                    .content_size(sums.then_some(data.len() as u64));
                let frame = lz4_frame(info, &data);
                let got = decompress(Codec::Lz4, &frame, data.len());
                assert!(got.as_ref() == Ok(&data), "{mode:?} {size:?} {sums}");
                if sums {
                    assert_lz4_checks(&frame);
                }
            }
        }
    }
}

/// Each checksum of a frame counts: the header's, the first block's, the content's.
fn assert_lz4_checks(frame: &[u8]) {
    let header_len = 4 + 2 + 8 + 1;
    let word = u32::from_le_bytes(*frame[header_len..].first_chunk().expect("a block"));
    let block_sum = header_len + 4 + (word & 0x7fff_ffff) as usize;
    for at in [6, header_len - 1, block_sum, frame.len() - 1] {
        let mut broken = frame.to_vec();
        broken[at] ^= 1;
        assert!(
            decompress(Codec::Lz4, &broken, 1 << 30).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn our_lz4_has_independent_blocks_of_64_kib() {
    let frame = packed(Codec::Lz4, &text(200_000));
    assert_eq!(frame[..4], [0x04, 0x22, 0x4d, 0x18]);
    assert_eq!(
        frame[4] & 0xe3,
        0x60,
        "version 1, independent, no dictionary"
    );
    assert_eq!(frame[5], 0x40, "64 KiB");
}

#[test]
fn lz4_frames_of_other_formats_are_refused() {
    let good = packed(Codec::Lz4, &text(100));
    for (at, byte) in [
        (0, 0x02),
        (4, 0x61),
        (4, 0x62),
        (4, 0xa0),
        (5, 0x30),
        (5, 0xc0),
    ] {
        let mut frame = good.clone();
        frame[at] = byte;
        let error = decompress(Codec::Lz4, &frame, 1000).expect_err("not the format");
        assert_eq!(error.kind, DecodeErrorKind::Decompress, "{at} {byte:#x}");
    }
    assert!(decompress(Codec::Lz4, b"", 1000).is_err());
}

#[test]
fn zstd_of_unknown_size_and_large_window_is_read_under_a_small_cap() {
    let data = text(3000);
    for level in [1, 3, 19] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).expect("a level");
        encoder.write_all(&data).expect("in memory");
        let bytes = encoder.finish().expect("in memory");
        assert_eq!(
            decompress(Codec::Zstd, &bytes, 4000).as_ref(),
            Ok(&data),
            "{level}"
        );
    }
}

/// Streams that expand from few bytes to a gigabyte.
fn bombs() -> Vec<(Codec, Vec<u8>)> {
    let zeros = vec![0; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("a level");
    for _ in 0..64 {
        gzip.write_all(&zeros).expect("in memory");
        zstd.write_all(&zeros).expect("in memory");
    }
    let snappy = packed(Codec::Snappy, &zeros);
    let lz4 = packed(Codec::Lz4, &zeros);
    vec![
        (Codec::Gzip, gzip.finish().expect("in memory")),
        (Codec::Zstd, zstd.finish().expect("in memory")),
        (Codec::Snappy, snappy.repeat(64)),
        (Codec::Lz4, lz4.repeat(64)),
    ]
}

#[test]
fn bombs_end_at_the_cap() {
    for (codec, bytes) in bombs() {
        for cap in [0, 1, 1 << 16, (64 << 20) - 1] {
            let error = decompress(codec, &bytes, cap).expect_err("a bomb");
            assert_eq!(error.kind, DecodeErrorKind::TooLarge, "{codec:?} {cap}");
        }
        let whole = decompress(codec, &bytes, 64 << 20).expect("just fits");
        assert_eq!(whole.len(), 64 << 20);
    }
}
