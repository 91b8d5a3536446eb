//! How fast responses become runs of records: `cargo run --profile quick -p ottla-core --example take_throughput`.
//!
//! One partition, responses of a few MiB, one taker. Two times are measured: that of the I/O thread for a response (sorting
//! batches by their headers), and that of a taker (checksum, decompression, positions of records).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::fetch::flow::Settings;
use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::take::Take;
use ottla_core::record::encode::{BatchBuilder, ProducerFields, seal};
use ottla_core::seam::{Bell, Flow};

const CONN: u64 = 1;
const VERSION: i16 = 4;
const BATCHES: usize = 64;
const ROUNDS: usize = 50;
const LIMIT: usize = 500;

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

fn settings() -> Settings {
    Settings {
        client_id: "measure".into(),
        rack: String::new(),
        isolation: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        partition_bytes: 16 << 20,
        max_wait: 500_000,
        request_timeout: 30_000_000,
        buffer_bytes: 64 << 20,
        decompressed_bytes: 64 << 20,
        check_crcs: true,
    }
}

/// A sealed batch of about 64 KiB before compression.
fn sealed(size: usize, codec: Codec) -> (Vec<u8>, usize) {
    let count = (64 << 10) / (size + 8);
    let mut builder = BatchBuilder::with_buffer(Vec::new());
    for index in 0..count {
        let mut value = format!("{{\"id\":{index},\"name\":\"customer {index}\"}}").into_bytes();
        value.resize(size, b' ');
        builder.append(1_700_000_000_000 + index as i64, None, Some(&value), &[]);
    }
    match seal(builder, codec, None, ProducerFields::NONE) {
        Ok(batch) => (batch.bytes, count),
        Err(error) => panic!("{error}"),
    }
}

/// A response whose batches begin at `offset`.
fn response(batch: &[u8], count: usize, offset: i64) -> Bytes {
    let mut frame = Vec::with_capacity(batch.len() * BATCHES + 64);
    frame.extend([0; 4]);
    frame.extend(1i32.to_be_bytes());
    frame.extend([0, 1, b't']);
    frame.extend(1i32.to_be_bytes());
    frame.extend([0; 6]);
    frame.extend([0; 16]);
    frame.extend((-1i32).to_be_bytes());
    frame.extend(((batch.len() * BATCHES) as i32).to_be_bytes());
    for index in 0..BATCHES {
        let base = offset + (index * count) as i64;
        frame.extend(base.to_be_bytes());
        frame.extend(&batch[8..]);
    }
    Bytes::from(frame)
}

fn measure(name: &str, size: usize, codec: Codec) {
    let (batch, count) = sealed(size, codec);
    let flow = FetchShared::new(settings(), Arc::new(Silent));
    flow.attach(CONN, VERSION, 1, "b:9092");
    flow.assign("t", [0; 16], 0);
    flow.position("t", 0, 0, -1);
    flow.route("t", 0, CONN, 0);
    let (mut io, mut taker) = (Duration::ZERO, Duration::ZERO);
    let mut records = 0;
    for _ in 0..ROUNDS {
        let frame = response(&batch, count, records as i64);
        let started = Instant::now();
        let token = flow.next_request(CONN, 1, 0).map(|request| request.token);
        let token = token.unwrap_or_else(|| panic!("no request"));
        if let Err(error) = flow.on_response(CONN, token, frame, 0) {
            panic!("{error}");
        }
        io += started.elapsed();
        let started = Instant::now();
        while let Take::Runs(runs) = flow.take(LIMIT, None) {
            records += runs.iter().map(|run| run.len()).sum::<usize>();
        }
        taker += started.elapsed();
    }
    assert_eq!(records, ROUNDS * BATCHES * count);
    let seconds = taker.as_secs_f64();
    println!(
        "{name:>5} {size:>5} B: taker {:>7.2} M records/s, {:>6.0} MB/s of values, I/O thread {:>5.1} us per response of {:.2} MiB",
        records as f64 / seconds / 1e6,
        (records * size) as f64 / seconds / 1e6,
        io.as_secs_f64() * 1e6 / ROUNDS as f64,
        (batch.len() * BATCHES) as f64 / f64::from(1 << 20),
    );
}

fn main() {
    let codecs = [
        ("none", Codec::None),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ];
    for (name, codec) in codecs {
        for size in [100, 1000] {
            measure(name, size, codec);
        }
    }
}
