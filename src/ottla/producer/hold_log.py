"""What the log says of a hold: one line for what happened to its batches, and what becomes of them. Pure.

Messages that fail are not told here: the flow tells of each failure by itself, with its outcome. What is behind the head of the
line is told only where it says more than that the head was refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.producer.verdict import IDENTITY_LOST, MOVED, WAITS_ITS_TURN, name_of
from ottla.protocol.error_codes import ErrorCode

if TYPE_CHECKING:
    from ottla.producer.verdict import Held, Verdict

_PASSING: Final = 2
"""A leader that has moved refuses once or twice until the metadata says so: with more attempts it is a warning."""


class Told(NamedTuple):
    """A line of the log, as `Summary.add` takes it."""

    level: int
    line: str
    many: int
    lasts: bool = False
    """Whether it speaks of what goes on, and is no longer true once the partition flows."""


def lines_of(
    held: Held, verdict: Verdict, node: str, *, idempotent: bool, gapless: bool
) -> Iterator[Told]:
    """The lines.

    Args:
        held: The hold.
        verdict: What was decided.
        node: Who was asked, for people: `node 1 at broker:9092`.
        idempotent: Whether what goes again cannot be there twice.
        gapless: Whether everything behind a failure fails too.
    """
    lost = 0
    refused: Counter[tuple[int, str, bool]] = Counter()
    for position, (batch, decision) in enumerate(zip(held.batches, verdict.decisions, strict=True)):
        if batch["expired"]:
            continue
        kind, code = decision[0], batch["code"]
        if kind in ("fail", "fail_records"):
            if gapless:
                break
        elif kind == "split":
            yield Told(
                logging.INFO,
                "{count:batch} of {places} over max.message.bytes of the topic: split, and sent again",
                1,
            )
        elif code is None:
            lost += held.is_lost and batch["sent"]
        elif position == 0 or code not in WAITS_ITS_TURN:
            level, text = _level(code, batch["attempts"]), _refusal(code, batch["error_message"])
            refused[level, text, code not in IDENTITY_LOST] += 1
    if lost:
        yield Told(logging.WARNING, _lost(held, node, idempotent=idempotent), lost)
    for (level, text, lasts), count in refused.items():
        yield Told(level, f"{node} answered {text}", count, lasts)


def _lost(held: Held, node: str, *, idempotent: bool) -> str:
    again = (
        "sent again under the same sequence, so that nothing is there twice"
        if idempotent
        else "sent again, and may be there twice, since enable_idempotence is off"
    )
    return f"{{count:batch}} of {{places}} without an answer: the connection to {node} was lost ({held.reason}): {again}"


def _refusal(code: int, message: str | None) -> str:
    why = f"{name_of(code)} ({message})" if message else name_of(code)
    if code in IDENTITY_LOST:
        return f"{why} to {{count:batch}} of {{places}}: sent again under a new producer epoch"
    return (
        f"{why} to {{count:batch}} of {{places}}: sent again until delivery_timeout_ms have passed"
    )


def _level(code: int, attempts: int) -> int:
    passes = code in MOVED and code != ErrorCode.KAFKA_STORAGE_ERROR
    return logging.INFO if passes and attempts <= _PASSING else logging.WARNING
