//! What `help` says of the hand-made methods of producers and deliveries. CPython takes the first line of each text as the
//! signature.
//!
//! Stations: message, delivery.

use std::ffi::CStr;

/// The arguments, which are the same for every way to send one message.
macro_rules! arguments {
    () => {
        "
    Args:
        topic: Name of the topic: letters and digits of ASCII, '.', '_' and '-'. That it is not known yet is no reason to
            wait: the message keeps its place in the topic's order and gets its partition when the metadata comes. (With a
            function as `partitioner` and no `partition`, the first sends wait for it, at most `max_block_ms`.)
        value: bytes-like, str (sent as UTF-8) or None (a tombstone in a compacted topic). Copied before the return.
        key: As value. Without a partition it chooses one, by default by murmur2 as in Java; None: batches go round.
        headers: Tuples of name (str) and value (as value) in a list or tuple, or a mapping; order and repeated names are
            kept.
        partition: Number of the partition, 0 or more; None: chosen.
        timestamp_ms: Milliseconds since the epoch, UTC, an int of 0 or more; None: now.
        metadata: Any object; comes back as `.metadata` of the delivery and is never sent.
"
    };
}

/// What a message that was accepted fails with.
macro_rules! failures {
    () => {
        "
        KafkaError: The broker refused it, as the topic or partition that it is for, its size (`MessageTooLarge`) or the
            producer; `ottla.kafka_errors` has a class for each reason. `.outcome` says whether it may be written.
        DeliveryTimeout: It had no outcome within `delivery_timeout_ms`; `.outcome` says whether it may be written.
        EarlierMessageFailed: With `gapless`: one before it in its partition failed; `.outcome` as above.
        Closed: The producer was closed before it had its outcome; `.outcome` as above."
    };
}

/// The refusals, after which nothing was accepted.
macro_rules! refusals {
    () => {
        "
        MessageTooLarge: Larger than `max_message_bytes` or `buffer_memory`. It was not accepted.
        UnknownTopicOrPartition: The topic is known and has no such partition. It was not accepted.
        Closed: The producer is closed or closing. It was not accepted.
        ForkedClient: The producer was made before a fork. It was not accepted.
        Timeout: The `partitioner` is a function and the topic's partitions are not known, or sends of an event loop that
            have waited for them come first. It was not accepted.
            What the function itself raises, TypeError or ValueError for a result that is no partition: likewise.
        TypeError: An argument of another type, which the text names. It was not accepted.
        ValueError: An argument that cannot be: a name that Kafka has no topic of, a number out of range, a str without a
            form in UTF-8 (UnicodeEncodeError), a memoryview that is not contiguous. It was not accepted.
"
    };
}

macro_rules! origin {
    () => {
        "    Protocol: Produce (key 0); KIP-98 sequences, KIP-480 and KIP-794 partition choice; Java: KafkaProducer.send,
        RecordAccumulator.append.
"
    };
}

/// A text that ends in the zero byte that C wants.
const fn text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a text ends in its only zero byte"),
    }
}

macro_rules! signature {
    ($name:literal) => {
        concat!(
            $name,
            "($self, /, topic, value=None, key=None, headers=None, partition=None, timestamp_ms=None, metadata=None)\n",
            "--\n\n"
        )
    };
}

/// A wait on the engine thread, of a call that has accepted nothing, or waits for what was accepted before.
macro_rules! engine_thread {
    () => {
        "
        RuntimeError: It would wait on the client's own engine thread, where a handler of its log ran"
    };
}

pub const SEND: &CStr = text(concat!(
    signature!("send"),
    "Hand one message to the accumulator; waits only while `buffer_memory` is full.

    The record is encoded into the open batch of its partition, in this thread; batching, compression, the network and
    retries are the I/O thread's. Messages of a partition are written in the order of the calls. That it was accepted is
    no promise that it is written: that is in the delivery, and a failure that nobody asks for is in the log.
",
    arguments!(),
    "
    Returns:
        Delivery: `result(timeout)` waits for the outcome; it never has to be kept.

    Raises:
        BufferFull: No room within `max_block_ms`, who came first being served first; at once in callbacks and in handlers of
            the client's own log, which run on its threads. It was not accepted.",
    refusals!(),
    "
    Cancellation: Ctrl-C ends the wait for room at once; the message was not accepted then.
    Threads: Any.
",
    origin!(),
    "\0"
));

pub const SEND_NOWAIT: &CStr = text(concat!(
    signature!("send_nowait"),
    "Hand one message to the accumulator, or raise where that would mean to wait: `send` that never waits.
",
    arguments!(),
    "
    Returns:
        Delivery: tells the outcome, by a wait, a callback or a look.

    Raises:
        BufferFull: `buffer_memory` has no room, or others wait for it. It was not accepted.",
    refusals!(),
    "
    Threads: Any.
",
    origin!(),
    "\0"
));

pub const SEND_ASYNC: &CStr = text(concat!(
    signature!("send"),
    "Hand one message to the accumulator; the await waits only while `buffer_memory` is full.

    The call itself appends, so messages of a partition are written in the order of the calls, however they are awaited.
    Where there is no room the call takes a place in line, and the await ends when the message was accepted: without an
    await it is lost then, which a RuntimeWarning and the log say. That it was accepted is no promise that it is written:
    awaiting the delivery tells, and a failure that nobody asks for is in the log.

        delivery = await producer.send(\"orders\", b\"value\")
        metadata = await delivery
",
    arguments!(),
    "
    Returns:
        Delivery: of the await; awaiting it in turn gives the outcome.

    Raises:
        BufferFull: No room within `max_block_ms`; who came first is served first. It was not accepted.",
    refusals!(),
    "
    Cancellation: While it waits for room it gives up its place: the message was not accepted. Afterwards it changes
        nothing: an accepted message is sent.
    Threads: Any thread with a running event loop.
",
    origin!(),
    "\0"
));

macro_rules! outcome_of_a_wait {
    () => {
        concat!(
            "
    Returns:
        RecordMetadata: topic, partition, offset, timestamp_ms.

    Raises:",
            failures!(),
            "
        BufferFull: No room within `max_block_ms`. It was not accepted."
        )
    };
}

pub const SEND_AND_WAIT: &CStr = text(concat!(
    signature!("send_and_wait"),
    "Send one message and wait for its outcome: `send` and the wait for its delivery in one.

    It does not linger (`linger_ms`): it goes as soon as nothing of its partition is on its way. One at a time is the slow way all
    the same, a round trip for each: a loop of `send` with one wait at its end shares batches and requests.

    It waits for room up to `max_block_ms` and for the outcome up to `delivery_timeout_ms`, and has no timeout of its own: to wait
    less, and still have the delivery afterwards, call `send(...)` and `result(timeout=5)` of what it returns.
",
    arguments!(),
    outcome_of_a_wait!(),
    engine_thread!(),
    ". It was not accepted.",
    refusals!(),
    "
    Cancellation: Ctrl-C ends the wait only; an accepted message is still sent.
    Threads: Any thread but one that runs an event loop, which it would block: a RuntimeWarning says so.
",
    origin!(),
    "\0"
));

pub const SEND_AND_WAIT_ASYNC: &CStr = text(concat!(
    signature!("send_and_wait"),
    "Send one message and wait for its outcome: `send` and the wait for its delivery in one.

    As with `send` the call itself appends, so messages of a partition are written in the order of the calls. It does
    not linger (`linger_ms`): it goes as soon as nothing of its partition is on its way, with what the other tasks of this turn of the
    loop send. One at a time is the slow way all the same, a round trip for each: many sends, awaited afterwards, share
    batches and requests.

    It waits for room up to `max_block_ms` and for the outcome up to `delivery_timeout_ms`, and has no timeout of its own: to wait
    less, and still have the delivery afterwards, write `delivery = await producer.send(...)` and await the delivery under
    `asyncio.timeout(5)`.
",
    arguments!(),
    outcome_of_a_wait!(),
    refusals!(),
    "
    Cancellation: While it waits for room it gives up its place: the message was not accepted. Afterwards it ends the wait
        only: an accepted message is sent.
    Threads: Any thread with a running event loop.
",
    origin!(),
    "\0"
));

/// `send_many`, but for how it waits.
macro_rules! send_many {
    (waits: $waits:literal, cancellation: $cancellation:literal, threads: $threads:literal) => {
        concat!(
            "Send every value of an iterable as a message of one topic, or every message of one; one object has all outcomes.

    ",
            $waits,
            "

    Args:
        topic: Name of the topic; or, alone, any iterable of `ottla.Message`, each with a topic of its own.
        values: Any iterable of bytes-like, str or None; each is copied when it is accepted.
        keys: As many keys, or None: no keys.

    Returns:
        Deliveries: len, `.result(timeout)`, `.offsets`, `.failed`, and a `Delivery` by index.

    Raises:
        BufferFull: One message found no room within `max_block_ms`; in callbacks and handlers of the client's log at once.
        MessageTooLarge, Closed, ForkedClient, TypeError, ValueError: As for `send`.
        ValueError: There are more keys than values, or the other way round.
        Exception: What the iterable itself raised.
        In each of these cases `.accepted` of the exception has the Deliveries of the messages before that one, which were
        accepted and are sent; that one and those behind it were not.
        TypeError: `values` or `keys` is no iterable of them, or one str or bytes, whose letters nobody means to send, or
        a mapping. Nothing was accepted, and there is no `.accepted`.

    Cancellation: ",
            $cancellation,
            "
    Threads: ",
            $threads
        )
    };
}
pub(crate) use send_many;

pub const INNER: &CStr = c"The same without the interceptors, which call it.";

pub const DONE: &CStr = c"done($self, /)
--

Whether the message has its outcome. Threads: any.";
pub const RESULT: &CStr = text(concat!(
    "result($self, /, timeout=None)
--

Wait for the outcome.

    Args:
        timeout: Seconds; None: until it is there, which `delivery_timeout_ms` bounds.

    Returns:
        RecordMetadata: topic, partition, offset, timestamp_ms.

    Raises:",
    failures!(),
    engine_thread!(),
    ".
        Timeout: `timeout` is over and the outcome is not known yet; the message is still on its way.
        ForkedClient: The process is a fork of the one that sent it, which alone hears of the outcome.
        TypeError, ValueError: `timeout` is no number of seconds. The message is on its way all the same.

    Cancellation: Ctrl-C ends the wait only.
    Threads: Any thread but one that runs an event loop, which it would block: a RuntimeWarning says so, once per place.
        Await the delivery there, which gives and raises the same.
",
    "\0"
));
pub const EXCEPTION: &CStr = c"exception($self, /, timeout=None)
--

Wait for the outcome, and return the error that `result` would raise, or None where the message is written.

    Args:
        timeout: Seconds; None: until it is there, which `delivery_timeout_ms` bounds.

    Returns:
        KafkaError, DeliveryTimeout, EarlierMessageFailed, Closed: as `result` raises them; None: it is written.

    Raises:
        RuntimeError: It would wait on the client's own engine thread, where a handler of its log ran.
        Timeout: `timeout` is over and the outcome is not known yet; the message is still on its way.
        ForkedClient: The process is a fork of the one that sent it, which alone hears of the outcome.
        TypeError, ValueError: `timeout` is no number of seconds. The message is on its way all the same.

    Cancellation: Ctrl-C ends the wait only.
    Threads: As `result`.
";
pub const ADD_DONE_CALLBACK: &CStr = c"add_done_callback($self, /, callback)
--

Have `callback(delivery)` called on the dispatcher thread once the message has its outcome, soon if it has it already.

    Callbacks run one after another and should be quick; an exception in one is logged and loses nothing. Those of messages that
    have their outcome together, as the messages of a batch do, run in the order in which they were asked for.

    Args:
        callback: A plain function that takes this delivery.

    Raises:
        TypeError: `callback` cannot be called, or is a coroutine function, which nobody would await. The message is on its way all the same.
        ForkedClient: The process is a fork of the one that sent it, which alone hears of the outcome.

    Threads: Any.
";
