"""Log lines about a hold: one line for each event of its batches, with their next step. Pure.

Messages that fail have no line here: the flow reports each failure by itself, with its outcome. Batches behind the first one
have a line only where it says more than that the first was refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ottla.producer.verdict import IDENTITY_LOST, MOVED, WAITS_ITS_TURN, cause_text, name_of
from ottla.protocol.error_codes import ErrorCode
from ottla.seam.connections import Loss

if TYPE_CHECKING:
    from ottla.observe.log_names import LogName
    from ottla.producer.verdict import Verdict
    from ottla.seam.producing import Held

_PASSING: Final = 2
"""Number of refusals by a leader that has moved, until the metadata names the new one; more are a warning."""

_RESENT: Final = {
    True: "sent again with the same sequence numbers, so nothing is written twice",
    False: "sent again, and may be written twice since enable_idempotence is off",
}


class HoldLine(NamedTuple):
    """A line of the log, as `Summary.add` takes it."""

    level: int
    event: LogName
    batches: int
    fields: dict[str, Any]


def lines_of(
    held: Held, verdict: Verdict, broker: Mapping[str, Any], *, idempotent: bool
) -> Iterator[HoldLine]:
    """The lines.

    Args:
        held: The hold.
        verdict: The decision about it.
        broker: The node that was asked, as fields of the log.
        idempotent: Whether a batch that is sent again cannot be written twice.
    """
    lost = 0
    refused: Counter[tuple[int, LogName, str]] = Counter()
    for position, (batch, decision) in enumerate(zip(held.batches, verdict.decisions, strict=True)):
        answer = batch.answer
        if decision == "split":
            yield HoldLine(logging.INFO, "batch.split", 1, {})
        elif decision != "retry":
            continue
        elif answer is None:
            lost += isinstance(held.cause, Loss) and batch.attempts > 0
        elif position == 0 or answer.code not in WAITS_ITS_TURN:
            level = _level(answer.code, batch.attempts)
            refused[level, _refusal(answer.code), _reason(answer.code, answer.message)] += 1
    if lost:
        fields = {**broker, "reason": cause_text(held.cause), "next_step": _RESENT[idempotent]}
        yield HoldLine(logging.WARNING, "batch.unanswered", lost, fields)
    for (level, event, reason), count in refused.items():
        yield HoldLine(level, event, count, {**broker, "reason": reason})


def _refusal(code: int) -> LogName:
    return "batch.identity_refused" if code in IDENTITY_LOST else "batch.refused"


def _reason(code: int, message: str | None) -> str:
    return f"{name_of(code)} ({message})" if message else name_of(code)


def _level(code: int, attempts: int) -> int:
    passes = code in MOVED and code != ErrorCode.KAFKA_STORAGE_ERROR
    return logging.INFO if passes and attempts <= _PASSING else logging.WARNING
