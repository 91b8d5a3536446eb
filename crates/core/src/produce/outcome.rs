//! Whether a batch may be in the log, judged by its attempts.
//!
//! Station: batch → delivery. A fact and no decision, so it is computed here alone and passed to the engine with each hold.
//! References: KIP-98; Java: `UnifiedLog.append`, `DelayedProduce`.

use crate::failure::Outcome;
use crate::produce::batch::{Attempt, Batch, Proof};

/// Error codes that a broker returns before it appends, so that the attempt left nothing in a log. Any other code, also an unknown
/// one, may follow the append: a leader may step down, or replicas fail, while a produce request waits for them.
///
/// UNKNOWN_TOPIC_OR_PARTITION and UNKNOWN_TOPIC_ID may follow it too, but only where the topic was deleted with its log.
const BEFORE_THE_APPEND: [i16; 31] = [
    2,   // CORRUPT_MESSAGE
    3,   // UNKNOWN_TOPIC_OR_PARTITION
    5,   // LEADER_NOT_AVAILABLE
    10,  // MESSAGE_TOO_LARGE
    17,  // INVALID_TOPIC_EXCEPTION
    18,  // RECORD_LIST_TOO_LARGE
    19,  // NOT_ENOUGH_REPLICAS
    21,  // INVALID_REQUIRED_ACKS
    29,  // TOPIC_AUTHORIZATION_FAILED
    31,  // CLUSTER_AUTHORIZATION_FAILED
    32,  // INVALID_TIMESTAMP
    35,  // UNSUPPORTED_VERSION
    42,  // INVALID_REQUEST
    43,  // UNSUPPORTED_FOR_MESSAGE_FORMAT
    44,  // POLICY_VIOLATION
    45,  // OUT_OF_ORDER_SEQUENCE_NUMBER
    47,  // INVALID_PRODUCER_EPOCH
    48,  // INVALID_TXN_STATE
    49,  // INVALID_PRODUCER_ID_MAPPING
    53,  // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    55,  // OPERATION_NOT_ATTEMPTED
    59,  // UNKNOWN_PRODUCER_ID
    74,  // FENCED_LEADER_EPOCH
    75,  // UNKNOWN_LEADER_EPOCH
    76,  // UNSUPPORTED_COMPRESSION_TYPE
    87,  // INVALID_RECORD
    89,  // THROTTLING_QUOTA_EXCEEDED
    90,  // PRODUCER_FENCED
    100, // UNKNOWN_TOPIC_ID
    103, // INCONSISTENT_TOPIC_ID
    120, // TRANSACTION_ABORTABLE
];

/// Whether an attempt that was answered with this error may have been appended nevertheless.
pub(super) fn may_follow_append(code: i16) -> bool {
    !BEFORE_THE_APPEND.contains(&code)
}

impl Batch {
    /// Whether any attempt may have written it: one in flight, one without an answer, or one whose answer does not exclude it.
    pub(super) fn may_be_written(&self) -> bool {
        let this_one = match &self.attempt {
            Attempt::None | Attempt::Lost => false,
            Attempt::InFlight => true,
            Attempt::Refused(answer) => may_follow_append(answer.code),
        };
        this_one || self.proof != Proof::None
    }

    /// Proof including the current attempt, for when it has been decided: a later refusal proves nothing about this attempt.
    pub(super) fn proof_so_far(&self) -> Proof {
        match self.proof {
            Proof::None if self.may_be_written() => Proof::Maybe,
            known => known,
        }
    }

    /// Outcome of its messages if it fails now.
    pub(super) fn outcome(&self) -> Outcome {
        if self.may_be_written() {
            Outcome::Unknown
        } else {
            Outcome::NotWritten
        }
    }
}
