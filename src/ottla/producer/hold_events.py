"""Events about a hold: the partition, the cause, and the next step of each of its batches. Engine thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.producer.verdict import cause_name, cause_text, name_of

if TYPE_CHECKING:
    from ottla.observe.events import Events
    from ottla.producer.verdict import Verdict
    from ottla.seam.producing import Held


def emit_hold(events: Events, held: Held, verdict: Verdict) -> None:
    """Emit the hold, and the batches that are sent again. Those that fail have an event of their own."""
    place = {"topic": held.topic, "partition": held.partition}
    events.emit(
        "partition.held",
        **place,
        cause=cause_name(held.cause),
        reason=cause_text(held.cause),
        batches=len(held.batches),
    )
    for batch, decision in zip(held.batches, verdict.decisions, strict=True):
        if decision == "split":
            events.emit("batch.split", **place, records=batch.records, size_bytes=batch.size_bytes)
        elif decision == "retry":
            answer = batch.answer
            events.emit(
                "batch.retried",
                **place,
                records=batch.records,
                attempts=batch.attempts,
                reason=cause_text(held.cause) if answer is None else name_of(answer.code),
            )
