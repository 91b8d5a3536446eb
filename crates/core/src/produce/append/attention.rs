//! Decides when the I/O thread has to be woken for a producer.
//!
//! Not every `send` wakes it: only a complete batch, or an open one that is due before the thread's next turn, and at most once
//! before that turn. Station: accumulator; under the producer's lock. Why: `docs/adr/0024-fewer-wake-ups-for-linger.md`.

use crate::ids::Micros;

/// Invariant: while work is due before the next turn, `due` is set, and then either the thread has been woken (`woken`) or the
/// next `take_wake` returns true. Code that adds work for the thread calls `request` or `request_by`; otherwise the work is not
/// noticed before the next linger ends.
#[derive(Debug, Default)]
pub(in crate::produce) struct Attention {
    /// The thread was woken and its turn has not ended.
    woken: bool,
    /// There is work for its next turn.
    due: bool,
    /// Time of its next turn if nothing wakes it; None: there is none.
    next_turn: Option<Micros>,
    /// A batch was sent or answered since its last turn.
    flowing: bool,
    /// One more than the highest number of an open batch that `note_leaving` has counted.
    leaving: u64,
}

impl Attention {
    /// Requests a turn of the thread as soon as possible.
    #[inline]
    pub fn request(&mut self) {
        self.due = true;
    }

    /// Requests a turn at this time at the latest.
    pub fn request_by(&mut self, time: Micros) {
        self.due |= self.next_turn.is_none_or(|next| time < next);
    }

    /// Returns whether the caller has to wake the thread now.
    #[inline]
    pub fn take_wake(&mut self) -> bool {
        self.due && !std::mem::replace(&mut self.woken, true)
    }

    /// Ends a turn of the thread; `next`: time of the following one.
    pub fn end_turn(&mut self, next: Option<Micros>) {
        self.woken = false;
        self.due = false;
        self.next_turn = next;
    }

    /// Notes that a batch was answered: more messages are expected while messages flow.
    pub fn note_flow(&mut self) {
        self.flowing = true;
    }

    /// Notes that the open batch with this number is sent. Each counts once: one that cannot be sent yet would keep the thread awake.
    pub fn note_leaving(&mut self, id: u64) {
        if id >= self.leaving {
            self.leaving = id + 1;
            self.flowing = true;
        }
    }

    /// Time at which the next batch, not opened yet, will be due. A turn at that time saves the wake for batches opened until then.
    pub fn expected(&mut self, now: Micros, linger: Micros) -> Option<Micros> {
        let expected = std::mem::take(&mut self.flowing) && linger > 0;
        expected.then(|| now.saturating_add(linger))
    }
}
