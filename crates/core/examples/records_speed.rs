//! Nanoseconds for each record of 100 bytes: appended, sealed (compression, header, checksum) and decoded, by codec.
//!
//! `cargo run --release -p ottla-core --example records_speed`

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::record::{BatchBuilder, ProducerFields, SealedBatch, iter_batches, seal};

const RECORDS: usize = 1000;
const ROUNDS: usize = 200;
const CAP: usize = 1 << 30;

/// Half random, half text, like the messages of the benchmarks in `bench/`.
fn values() -> Vec<Vec<u8>> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..RECORDS)
        .map(|i| {
            let mut value: Vec<u8> = (0..50).map(|_| next()).collect();
            value.extend(format!("{i:010} order of a customer in Kraków, paid ").bytes());
            value.resize(100, b' ');
            value
        })
        .collect()
}

fn filled(values: &[Vec<u8>], buffer: Vec<u8>) -> BatchBuilder {
    let mut builder = BatchBuilder::with_buffer(buffer);
    for (i, value) in values.iter().enumerate() {
        builder.append(1_700_000_000_000 + i as i64 / 10, None, Some(value), &[]);
    }
    builder
}

/// Minimum time of all rounds, per record.
fn least_ns(mut round: impl FnMut() -> u128) -> f64 {
    let least = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    least as f64 / RECORDS as f64
}

fn sealed(values: &[Vec<u8>], codec: Codec) -> Result<SealedBatch, Box<dyn std::error::Error>> {
    Ok(seal(
        filled(values, Vec::new()),
        codec,
        None,
        ProducerFields::NONE,
    )?)
}

fn decoded(frame: &Bytes) -> usize {
    let batches = iter_batches(frame).filter_map(|raw| raw.ok()?.decode(CAP).ok());
    batches
        .map(|batch| {
            let values = (0..batch.len()).filter_map(|i| batch.record(i)?.value.map(<[u8]>::len));
            values.sum::<usize>()
        })
        .sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let values = values();
    let mut buffer = Vec::new();
    let append = least_ns(|| {
        let start = Instant::now();
        let builder = black_box(filled(&values, std::mem::take(&mut buffer)));
        let taken = start.elapsed().as_nanos();
        buffer = builder.into_buffer();
        taken
    });
    println!("append {append:.1} ns a record of 100 B");
    println!("codec   ratio  seal ns  decode ns");
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        let batch = sealed(&values, codec)?;
        let ratio = batch.uncompressed_len as f64 / batch.bytes.len() as f64;
        let frame = Bytes::from(batch.bytes);
        let seal_ns = least_ns(|| {
            let builder = filled(&values, Vec::with_capacity(200 * RECORDS));
            let start = Instant::now();
            let _ = black_box(seal(builder, codec, None, ProducerFields::NONE));
            start.elapsed().as_nanos()
        });
        let decode_ns = least_ns(|| {
            let start = Instant::now();
            assert_eq!(black_box(decoded(&frame)), 100 * RECORDS);
            start.elapsed().as_nanos()
        });
        println!(
            "{:<7} {ratio:>5.2} {seal_ns:>8.1} {decode_ns:>10.1}",
            codec.name()
        );
    }
    Ok(())
}
