"""Events about a hold: the partition, the cause, and the next step of each of its batches. Engine thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.producer.verdict import name_of

if TYPE_CHECKING:
    from ottla.observe.events import Events
    from ottla.producer.verdict import Held, Verdict


def emit_hold(events: Events, held: Held, verdict: Verdict, *, gapless: bool) -> None:
    """Emit the hold, and the batches that are sent again. Batches that fail are emitted once they have failed.

    gapless: Whether no batch behind a failed one is sent again, in spite of its decision.
    """
    place = {"topic": held.topic, "partition": held.partition}
    events.emit(
        "partition.held",
        **place,
        cause=held.kind,
        reason=held.reason,
        batches=len(held.batches),
    )
    for batch, decision in zip(held.batches, verdict.decisions, strict=True):
        if batch["expired"]:
            continue
        if gapless and decision[0] in ("fail", "fail_records"):
            return
        if decision[0] == "split":
            events.emit("batch.split", **place, records=batch["records"], size_bytes=batch["bytes"])
        elif decision[0] == "retry":
            events.emit(
                "batch.retried",
                **place,
                records=batch["records"],
                attempts=batch["attempts"],
                reason=held.reason if batch["code"] is None else name_of(batch["code"]),
            )
