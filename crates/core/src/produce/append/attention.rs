//! When the I/O thread has to be woken for a producer.
//!
//! Not every `send` wakes it: only a batch that is complete, or an open one that is due before the thread's next turn, and that
//! once until the turn. Station: accumulator; under the producer's lock. Why: `docs/adr/0024-fewer-wake-ups-for-linger.md`.

use crate::ids::Micros;

/// Invariant: while something is due that the next turn would come too late for, `due` is set, and then either the thread has
/// been woken (`woken`) or the next `take_wake` says that it has to be. Code that adds work for the thread calls `request` or
/// `request_by`; without that, the work waits for the next linger.
#[derive(Debug, Default)]
pub(in crate::produce) struct Attention {
    /// The thread was woken and its turn has not ended.
    woken: bool,
    /// There is work for its next turn.
    due: bool,
    /// When its next turn comes without a wake; None: never.
    next_turn: Option<Micros>,
    /// A batch left or was answered since its last turn.
    flowing: bool,
    /// No open batch with this number or a higher one was seen to leave.
    leaving: u64,
}

impl Attention {
    /// There is work for the thread.
    #[inline]
    pub fn request(&mut self) {
        self.due = true;
    }

    /// There is work for it at this time.
    pub fn request_by(&mut self, time: Micros) {
        self.due |= self.next_turn.is_none_or(|next| time < next);
    }

    /// Whether the thread has to be woken now; the caller does it.
    #[inline]
    pub fn take_wake(&mut self) -> bool {
        self.due && !std::mem::replace(&mut self.woken, true)
    }

    /// A turn of the thread ends, and the next one comes at this time.
    pub fn end_turn(&mut self, next: Option<Micros>) {
        self.woken = false;
        self.due = false;
        self.next_turn = next;
    }

    /// A batch was answered: while messages flow, the next ones are about to come.
    pub fn note_flow(&mut self) {
        self.flowing = true;
    }

    /// The open batch with this number leaves. Each counts once: one that cannot leave yet would keep the thread awake.
    pub fn note_leaving(&mut self, id: u64) {
        if id >= self.leaving {
            self.leaving = id + 1;
            self.flowing = true;
        }
    }

    /// When a batch that is not there yet will be due: the turn then saves the wake for what is opened in the meantime.
    pub fn expected(&mut self, now: Micros, linger: Micros) -> Option<Micros> {
        let expected = std::mem::take(&mut self.flowing) && linger > 0;
        expected.then(|| now.saturating_add(linger))
    }
}
