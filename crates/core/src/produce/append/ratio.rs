//! How well a topic's batches compress, and how large an open one may therefore grow.
//!
//! Station: accumulator. `batch_size` counts bytes as they are sent. Nobody knows what an open batch will compress to, so each
//! topic has an estimate, made of the batches before. It errs on the side of too small a batch: it rises with the first batch
//! that compresses worse, and falls a little with each that compresses better. What statistics tell is no estimate: it is made of
//! the bytes of the batches that were sent (`produce/stats.rs`). Reference: Java's `CompressionRatioEstimator`,
//! `MemoryRecordsBuilder.estimatedBytesWritten`.

/// As Java: what is estimated turns out up to so much larger.
const SAFETY: f64 = 1.05;
/// As Java: a step that is too large rather than too small when batches begin to compress worse.
const RISE: f64 = 0.05;
/// As Java, per batch, where the gap is small. Java's batches are 16 KB; of ours it would take hundreds of megabytes to
/// get down from 1, so a part of the gap is taken where that is more.
const FALL: f64 = 0.005;
const FALL_OF_GAP: f64 = 1.0 / 16.0;
/// An open batch grows to at most so many times `batch_size`. What is gained beyond is little (a header and a place in a
/// request for each megabyte); what it costs is memory, here and in every reader, which unpacks a batch as a whole, time until
/// the batch is compressed, and work when the estimate was wrong and the batch has to be taken apart.
const MOST_GROWTH: usize = 4;
/// Nor does one batch take more than this part of `buffer_memory`.
const SHARE_OF_BUFFER: usize = 8;

/// Compressed bytes for each byte; 1 until something is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Default for Ratio {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Ratio {
    /// A batch was sealed: `before` bytes became `after`. A batch like it would fit into the next limit.
    pub fn observe(&mut self, before: usize, after: usize) {
        let seen = after as f64 / before.max(1) as f64;
        self.0 = if seen > self.0 {
            seen.max(self.0 + RISE)
        } else {
            let gap = self.0 - seen;
            seen.max(self.0 - FALL.max(gap * FALL_OF_GAP))
        };
        // What does not get smaller is sent as it is.
        self.0 = self.0.min(1.0);
    }

    pub fn get(self) -> f64 {
        self.0
    }

    /// The bytes before compression at which a batch is full.
    pub fn limit(self, batch_bytes: usize, buffer_bytes: usize) -> usize {
        let most = (buffer_bytes / SHARE_OF_BUFFER).min(batch_bytes.saturating_mul(MOST_GROWTH));
        let estimated = batch_bytes as f64 / (self.0 * SAFETY).max(f64::MIN_POSITIVE);
        (estimated as usize).min(most).max(batch_bytes)
    }
}
