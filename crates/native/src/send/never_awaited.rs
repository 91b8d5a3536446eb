//! Asynchronous sends that were never awaited, summed up until the engine logs them.
//!
//! Station: message. Threads: any.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Sends that were never awaited, by method and topic, until the engine has taken them.
#[derive(Default)]
pub struct NeverAwaited(Mutex<BTreeMap<(&'static str, String), u64>>);

impl NeverAwaited {
    pub fn add(&self, method: &'static str, topic: String) {
        *self.0.lock().entry((method, topic)).or_default() += 1;
    }

    pub fn take(&self) -> Vec<(&'static str, String, u64)> {
        let taken = std::mem::take(&mut *self.0.lock()).into_iter();
        taken
            .map(|((method, topic), count)| (method, topic, count))
            .collect()
    }
}
