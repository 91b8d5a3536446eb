//! Estimate of how well a topic's batches compress, and the size up to which an open one may therefore grow.
//!
//! Station: accumulator. `batch_size` counts bytes as they are sent. The compressed size of an open batch is not known, so each
//! topic has an estimate from its earlier batches. It errs towards batches that are too small: it rises with the first batch
//! that compresses worse, and falls a little with each that compresses better. Statistics report no estimate, but the
//! bytes of the batches that were sent (`produce/stats.rs`). Reference: Java's `CompressionRatioEstimator`,
//! `MemoryRecordsBuilder.estimatedBytesWritten`.

/// Factor, as in Java, by which the compressed size may exceed the estimate.
const SAFETY: f64 = 1.05;
/// Step, as in Java, by which the estimate rises at least when a batch compresses worse; rather too large than too small.
const RISE: f64 = 0.05;
/// Step, as in Java, by which the estimate falls at least per batch that compresses better. Java's batches are 16 KB; with ours it
/// would take hundreds of megabytes to come down from 1, so the step is `FALL_OF_GAP` of the gap where that is more.
const FALL: f64 = 0.005;
const FALL_OF_GAP: f64 = 1.0 / 16.0;
/// Maximum size of an open batch, in multiples of `batch_size`. A larger batch gains little (a header and an entry of a request for
/// each megabyte). It costs memory, here and in every reader, which unpacks a batch as a whole, time until the batch is compressed,
/// and work when the estimate was wrong and the batch has to be split.
const MOST_GROWTH: usize = 4;
/// Maximum size of an open batch, as this part of `buffer_memory`.
const SHARE_OF_BUFFER: usize = 8;

/// Compressed bytes per byte; 1 before the first observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Default for Ratio {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Ratio {
    /// Updates the estimate: `before` bytes of a batch were sealed to `after`. The next limit is such that a batch like it fits.
    pub fn observe(&mut self, before: usize, after: usize) {
        let seen = after as f64 / before.max(1) as f64;
        self.0 = if seen > self.0 {
            seen.max(self.0 + RISE)
        } else {
            let gap = self.0 - seen;
            seen.max(self.0 - FALL.max(gap * FALL_OF_GAP))
        };
        // A batch that compression would enlarge is sent uncompressed.
        self.0 = self.0.min(1.0);
    }

    pub fn get(self) -> f64 {
        self.0
    }

    /// Bytes before compression at which a batch is full.
    pub fn limit(self, batch_bytes: usize, buffer_bytes: usize) -> usize {
        let most = (buffer_bytes / SHARE_OF_BUFFER).min(batch_bytes.saturating_mul(MOST_GROWTH));
        let estimated = batch_bytes as f64 / (self.0 * SAFETY).max(f64::MIN_POSITIVE);
        (estimated as usize).min(most).max(batch_bytes)
    }
}
