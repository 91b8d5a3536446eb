//! The memory of hostile batches: no codec allocates by the claims of a stream, only by its actual output.
//!
//! Counts Rust's allocations. zstd's window is C's: at most 128 MiB of address space, touched as output is written.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_core::bytes::compression::codec::Codec;
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::bytes::compression::decompress::decompress;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed unchanged to the system's allocator; counting does not affect it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Maximum bytes that are allocated while `work` runs, beyond those before it. One test only: threads would mix.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

fn lz4_frame_of_4_mib_blocks() -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max4MB);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    std::io::Write::write_all(&mut encoder, b"little").expect("in memory");
    encoder.finish().expect("in memory")
}

#[test]
fn memory_grows_with_the_output() {
    const CAP: usize = 1 << 20;
    let slack = 256 << 10;
    let zeros = vec![0; 32 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut bomb = Vec::new();
        let mut compressor = Compressor::default();
        bomb.extend_from_slice(
            compressor
                .compress(codec, None, &zeros)
                .expect("compresses"),
        );
        let peak = peak_of(|| assert!(decompress(codec, &bomb, CAP).is_err()));
        // A vector that doubles holds its old half while it grows.
        assert!(
            peak < 3 * CAP + slack,
            "{codec:?}: {peak} bytes under a cap of {CAP}"
        );
    }
    let claims: [(Codec, &[u8]); 4] = [
        (Codec::Snappy, b"\xff\xff\xff\x7f\x00a"),
        (
            Codec::Snappy,
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07\xff\xff\xff\x7f\x00ab",
        ),
        (
            Codec::Zstd,
            b"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\x3f\0\0\0\0\x01\0\0",
        ),
        (Codec::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\xff"),
    ];
    for (codec, claim) in claims {
        let peak = peak_of(|| assert!(decompress(codec, claim, 1 << 30).is_err()));
        assert!(peak < slack, "{codec:?}: {peak} bytes for a claim");
    }
    let little = lz4_frame_of_4_mib_blocks().repeat(100);
    let peak = peak_of(|| {
        assert_eq!(
            decompress(Codec::Lz4, &little, CAP).map(|got| got.len()),
            Ok(600)
        )
    });
    assert!(peak < slack, "{peak} bytes for 600");
}
