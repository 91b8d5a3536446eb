//! The inbox: fetched batches that wait for the user, partition by partition.
//!
//! Station: inbox. Whole batches wait here as they came, in order. A taker claims some of them under the flow's lock, decodes
//! them without it, and settles under it again: records that were unassigned or sought away from in between are not handed over.
//! While a claim is out, no other taker takes from the same partition, so its order is kept. References: KIP-74.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::fetch::places::Places;
use crate::fetch::run::Run;
use crate::fetch::shelf::{Content, Entry, Fault, Job, Shelf};
use crate::fetch::take::{ErrorHandle, Take, TakeError};
use crate::fetch::waiters::Waiters;
use crate::ids::PartId;

/// State of a partition's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfState {
    pub position: Option<i64>,
    pub leader_epoch: i32,
    pub buffered_records: usize,
    /// Records handed over since the assignment.
    pub handed: u64,
    pub paused: bool,
}

#[derive(Default)]
pub struct Inbox {
    shelves: HashMap<PartId, Shelf>,
    places: Places<PartId>,
    ready: VecDeque<PartId>,
    ended: Places<()>,
    woken: bool,
    closed: bool,
    /// A position has moved past offsets without a record since the latest take of any partition.
    moved: bool,
    /// A taker of any partition has found nothing.
    hungry: bool,
    pub waiters: Waiters,
    /// Bytes of all waiting batches.
    pub bytes: usize,
    /// Number of records handed over.
    pub handed: u64,
    /// Faults that were found: their partitions are to be fetched again, from the position.
    pub(crate) faults: Vec<(PartId, Fault)>,
    /// Errors of the user's language that will not be raised: to be dropped without the lock.
    pub trash: Vec<ErrorHandle>,
}

impl Inbox {
    // ---- tables ----------------------------------------------------------------------------------------------------

    pub fn id_of(&self, topic: &str, partition: i32) -> Option<PartId> {
        self.places.get(topic, partition).copied()
    }

    pub fn add(&mut self, id: PartId, topic: Arc<str>, partition: i32) {
        self.ended.remove(&topic, partition);
        self.places.insert(Arc::clone(&topic), partition, id);
        let shelf = Shelf::new((topic, partition));
        self.shelves.insert(id, shelf);
    }

    /// Forgets a partition; takers of it alone end with `Ended`.
    pub fn remove(&mut self, id: PartId) {
        if let Some(shelf) = self.shelves.remove(&id) {
            self.bytes -= shelf.bytes;
            self.trash
                .extend(shelf.error.and_then(TakeError::into_handle));
            let (topic, partition) = shelf.place;
            self.places.remove(&topic, partition);
            self.end(&topic, partition);
        }
    }

    /// Starts again at an offset: no batch that waits or is being decoded is handed over any more.
    pub fn set_position(&mut self, id: PartId, offset: i64, epoch: i32) {
        if let Some(shelf) = self.shelves.get_mut(&id) {
            shelf.seek += 1;
            shelf.position = Some(offset);
            shelf.epoch = epoch;
            self.bytes -= std::mem::take(&mut shelf.bytes);
            shelf.entries.clear();
            shelf.claimed = 0;
            shelf.fault = None;
            shelf.error.take_if(|error| error.is_decode());
        }
    }

    /// Ends the hand-over of a partition: nothing of it is taken or appended any more, and batches that a taker claimed are not
    /// handed over. Its position stays readable and can be set; takers of it alone end with `Ended`.
    pub fn withhold(&mut self, id: PartId) {
        if let Some(shelf) = self.shelves.get_mut(&id) {
            shelf.withheld = true;
            shelf.seek += 1;
            self.bytes -= std::mem::take(&mut shelf.bytes);
            shelf.entries.clear();
            shelf.claimed = 0;
            let error = shelf.error.take();
            self.trash.extend(error.and_then(TakeError::into_handle));
            let (topic, partition) = shelf.place.clone();
            self.end(&topic, partition);
        }
    }

    /// The error of the partition that waits for a take is not raised.
    pub fn withdraw_error(&mut self, topic: &str, partition: i32) {
        let id = self.id_of(topic, partition);
        if let Some(shelf) = id.and_then(|id| self.shelves.get_mut(&id)) {
            let error = shelf.error.take();
            self.trash.extend(error.and_then(TakeError::into_handle));
        }
    }

    pub fn set_paused(&mut self, id: PartId, paused: bool) {
        if let Some(shelf) = self.shelves.get_mut(&id) {
            shelf.paused = paused;
        }
        self.announce(id);
    }

    /// The next take of the partition fails with the error. While an error waits, further ones are dropped: a lasting fault is
    /// reported again and again, and nobody has to take.
    pub fn fail(&mut self, topic: &str, partition: i32, error: ErrorHandle) {
        let id = self.id_of(topic, partition);
        match id.and_then(|id| self.shelves.get_mut(&id)) {
            Some(shelf) if shelf.error.is_none() && !shelf.withheld => {
                let (topic, partition) = shelf.place.clone();
                shelf.error = Some(TakeError::Queued {
                    topic,
                    partition,
                    error,
                });
            }
            _ => self.trash.push(error),
        }
        if let Some(id) = id {
            self.announce(id);
        }
    }

    pub fn end(&mut self, topic: &str, partition: i32) {
        *self.ended.entry_or_default(topic, partition) = ();
        self.waiters.wake_only(topic, partition);
    }

    pub fn wakeup(&mut self) {
        self.woken = !self.waiters.interrupt();
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.waiters.wake_all();
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing of it is to be fetched: it is paused, or withheld.
    pub fn is_paused(&self, id: PartId) -> bool {
        let shelf = self.shelves.get(&id);
        shelf.is_some_and(|shelf| shelf.paused || shelf.withheld)
    }

    pub fn is_empty(&self, id: PartId) -> bool {
        let shelf = self.shelves.get(&id);
        shelf.is_none_or(|shelf| shelf.entries.is_empty())
    }

    pub fn bytes_of(&self, id: PartId) -> usize {
        self.shelves.get(&id).map_or(0, |shelf| shelf.bytes)
    }

    pub fn state(&self, id: PartId) -> Option<ShelfState> {
        let shelf = self.shelves.get(&id)?;
        let position = shelf.position.unwrap_or(0);
        let records = shelf.entries.iter().map(|entry| entry.records(position));
        Some(ShelfState {
            position: shelf.position,
            leader_epoch: shelf.epoch,
            buffered_records: records.sum(),
            handed: shelf.handed,
            paused: shelf.paused,
        })
    }

    /// Next offset to hand over, and leader epoch of the record before it, for every partition that has a position.
    pub fn positions(&self) -> Vec<(Arc<str>, i32, i64, i32)> {
        let shelves = self.shelves.values();
        shelves
            .filter_map(|shelf| {
                let (topic, partition) = &shelf.place;
                Some((topic.clone(), *partition, shelf.position?, shelf.epoch))
            })
            .collect()
    }

    // ---- from the broker -------------------------------------------------------------------------------------------

    /// Appends fetched batches. Offsets before `lead` that precede them have no record for the user.
    pub fn deliver(&mut self, id: PartId, lead: Option<(i64, i32)>, entries: Vec<Entry>) {
        let Some(shelf) = self.shelves.get_mut(&id).filter(|shelf| !shelf.withheld) else {
            return;
        };
        if let Some(lead) = lead {
            match shelf.entries.back_mut() {
                Some(last) => last.skip_to(lead),
                None if shelf.position < Some(lead.0) => {
                    shelf.position = Some(lead.0);
                    shelf.epoch = lead.1;
                    self.moved = true;
                    self.waiters.wake_any();
                }
                None => {}
            }
        }
        let bytes: usize = entries.iter().map(|entry| entry.bytes).sum();
        shelf.bytes += bytes;
        self.bytes += bytes;
        shelf.entries.extend(entries);
        self.announce(id);
    }

    /// Drops the batches fetched last, beyond `most` bytes, but not the first `least` ones; returns the offset to fetch from again, and
    /// the leader epoch of the batch before it, if any was dropped. Claimed batches stay.
    pub fn trim(&mut self, id: PartId, most: usize, least: usize) -> Option<(i64, i32)> {
        let shelf = self.shelves.get_mut(&id)?;
        let keep = shelf.claimed.max(least);
        let mut from = None;
        while shelf.bytes > most && shelf.entries.len() > keep {
            let last = shelf.entries.pop_back()?;
            shelf.bytes -= last.bytes;
            self.bytes -= last.bytes;
            let retained = shelf.entries.back();
            let before = retained.map(|entry| (entry.next_offset, entry.epoch));
            from = before.or(shelf.position.map(|position| (position, shelf.epoch)));
        }
        from
    }

    /// Drops the waiting batches that are not in the leader's log, which has nothing of a later epoch, and of this epoch only the
    /// offsets before `end`. Claims are void. Returns the offset to fetch from, and the leader epoch of the batch before it.
    pub fn truncate(&mut self, id: PartId, epoch: i32, end: i64) -> Option<(i64, i32)> {
        let shelf = self.shelves.get_mut(&id)?;
        shelf.seek += 1;
        shelf.claimed = 0;
        while shelf
            .entries
            .back()
            .is_some_and(|last| last.next_offset > end || last.epoch > epoch)
            && let Some(gone) = shelf.entries.pop_back()
        {
            shelf.bytes -= gone.bytes;
            self.bytes -= gone.bytes;
        }
        let from = match shelf.entries.back() {
            Some(last) => (last.next_offset, last.epoch),
            None => (shelf.position?, shelf.epoch),
        };
        self.announce(id);
        Some(from)
    }

    /// Whether a taker of this partition, or of any, has found nothing since the last batches of it were taken.
    pub fn is_hungry(&self, id: PartId) -> bool {
        self.hungry || self.shelves.get(&id).is_some_and(|shelf| shelf.hungry)
    }

    /// A take has found nothing.
    pub fn note_hunger(&mut self, only: Option<(&str, i32)>) {
        match only {
            None => self.hungry = true,
            Some((topic, partition)) => {
                let id = self.id_of(topic, partition);
                if let Some(shelf) = id.and_then(|id| self.shelves.get_mut(&id)) {
                    shelf.hungry = true;
                }
            }
        }
    }

    /// Lists the partition in the rotation and wakes its takers, if it has something to take.
    fn announce(&mut self, id: PartId) {
        if let Some(shelf) = self.shelves.get_mut(&id)
            && shelf.is_takeable()
        {
            shelf.hungry = false;
            self.hungry = false;
            if !shelf.listed {
                shelf.listed = true;
                self.ready.push_back(id);
            }
            self.waiters.wake_for(&shelf.place);
        }
    }

    // ---- takers ----------------------------------------------------------------------------------------------------

    /// Whether a take would end with anything else than `Nothing`.
    pub fn has_something(&mut self, only: Option<(&str, i32)>) -> bool {
        if self.closed || self.woken || (self.moved && only.is_none()) {
            return true;
        }
        if let Some((topic, partition)) = only {
            let shelf = self.id_of(topic, partition);
            let shelf = shelf.and_then(|id| self.shelves.get(&id));
            return self.ended.contains(topic, partition) || shelf.is_some_and(Shelf::is_takeable);
        }
        match self.next_ready() {
            Some(id) => self.ready.push_front(id),
            None => return false,
        }
        true
    }

    /// Takes the first partition of the rotation that has something; those without drop out until they have.
    fn next_ready(&mut self) -> Option<PartId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(shelf) = self.shelves.get_mut(&id) {
                if shelf.is_takeable() {
                    return Some(id);
                }
                shelf.listed = false;
            }
        }
        None
    }

    /// Claims batches of about `limit` records. Claimed batches have to be settled.
    pub fn claim(&mut self, limit: usize, only: Option<(&str, i32)>) -> Result<Vec<Job>, Take> {
        if self.closed {
            return Err(Take::Closed);
        }
        if std::mem::take(&mut self.woken) {
            return Err(Take::Woken);
        }
        let mut jobs = Vec::new();
        if let Some((topic, partition)) = only {
            if self.ended.contains(topic, partition) {
                return Err(Take::Ended);
            }
            let id = self.id_of(topic, partition).ok_or(Take::Nothing)?;
            self.claim_of(id, limit, &mut jobs)?;
        } else {
            self.claim_in_rotation(limit, &mut jobs)?;
        }
        if !jobs.is_empty() {
            return Ok(jobs);
        }
        let moved = only.is_none() && std::mem::take(&mut self.moved);
        Err(if moved { Take::Moved } else { Take::Nothing })
    }

    fn claim_in_rotation(&mut self, limit: usize, jobs: &mut Vec<Job>) -> Result<(), Take> {
        let mut left = limit;
        while left > 0 {
            let Some(id) = self.next_ready() else {
                break;
            };
            let shelf = self.shelves.get_mut(&id);
            if !jobs.is_empty() && shelf.is_some_and(|shelf| shelf.error.is_some()) {
                // The claimed records are handed over first; the error is for the next take.
                self.ready.push_front(id);
                break;
            }
            if let Some(shelf) = self.shelves.get_mut(&id) {
                shelf.listed = false;
            }
            left = left.saturating_sub(self.claim_of(id, left, jobs)?);
        }
        Ok(())
    }

    /// Claims batches of one partition; returns the maximum number of their records.
    fn claim_of(&mut self, id: PartId, want: usize, jobs: &mut Vec<Job>) -> Result<usize, Take> {
        let Some(shelf) = self.shelves.get_mut(&id) else {
            return Ok(0);
        };
        if let Some(error) = shelf.error.take() {
            self.announce(id);
            return Err(Take::Failed(error));
        }
        if !shelf.has_records() {
            return Ok(0);
        }
        let position = shelf.position.unwrap_or(0);
        let mut records = 0;
        let mut work = Vec::new();
        for entry in &shelf.entries {
            records += entry.records(position);
            work.push(entry.content.clone());
            if records >= want || matches!(entry.content, Content::Corrupt(_)) {
                break;
            }
        }
        shelf.claimed = work.len();
        let seek = shelf.seek;
        jobs.push(Job { id, seek, work });
        Ok(records)
    }

    /// Hands over at most `limit` records of the claimed and decoded batches. None: there is none left, take again.
    pub fn settle(
        &mut self,
        jobs: Vec<Job>,
        limit: usize,
        only: Option<(&str, i32)>,
    ) -> Option<Take> {
        let ended = only.is_some_and(|(topic, partition)| self.ended.contains(topic, partition));
        let mut left = if ended || self.closed { 0 } else { limit };
        let mut runs = Vec::new();
        for job in jobs {
            let id = job.id;
            self.settle_one(job, &mut left, &mut runs);
            self.announce(id);
        }
        self.handed += runs.iter().map(|run| run.len() as u64).sum::<u64>();
        if self.closed {
            return Some(Take::Closed);
        }
        if ended {
            return Some(Take::Ended);
        }
        if !runs.is_empty() && only.is_none() {
            self.moved = false;
        }
        if self.moved {
            self.waiters.wake_any();
        }
        (!runs.is_empty()).then_some(Take::Runs(runs))
    }

    fn settle_one(&mut self, job: Job, left: &mut usize, runs: &mut Vec<Run>) {
        let Some(shelf) = self.shelves.get_mut(&job.id) else {
            return;
        };
        if shelf.seek != job.seek {
            return;
        }
        shelf.claimed = 0;
        for (entry, content) in shelf.entries.iter_mut().zip(job.work) {
            entry.content = content;
        }
        if shelf.paused {
            return;
        }
        let Some(mut position) = shelf.position else {
            return;
        };
        let mut fault = None;
        while *left > 0
            && let Some(entry) = shelf.entries.front()
        {
            let batch = match &entry.content {
                Content::Decoded(batch) => batch,
                Content::Raw(_) => break,
                Content::Corrupt(corrupt) => {
                    fault = Some((corrupt.clone(), entry.next_offset));
                    break;
                }
            };
            let start = batch.first_index_at(position);
            let end = batch.len().min(start + *left);
            let whole = end == batch.len();
            let next_offset = match batch.positions()[start..end].last() {
                Some(last) if !whole => last.offset + 1,
                _ => entry.next_offset,
            };
            position = position.max(next_offset);
            shelf.epoch = if whole {
                entry.epoch
            } else {
                batch.header().partition_leader_epoch
            };
            self.moved |= start == end;
            if start < end {
                *left -= end - start;
                shelf.handed += (end - start) as u64;
                runs.push(Run {
                    topic: shelf.place.0.clone(),
                    partition: shelf.place.1,
                    batch: Arc::clone(batch),
                    records: start..end,
                    next_offset: position,
                });
            }
            if whole {
                shelf.bytes -= entry.bytes;
                self.bytes -= entry.bytes;
                shelf.entries.pop_front();
            }
        }
        shelf.position = Some(position);
        if let Some((error, next_offset)) = fault {
            self.bytes -= std::mem::take(&mut shelf.bytes);
            shelf.entries.clear();
            let fault = shelf.found_fault(position, next_offset, error);
            self.faults.push((job.id, fault));
        }
    }
}
