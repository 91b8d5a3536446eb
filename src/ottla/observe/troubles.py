"""The words for why messages wait. Leaf; any thread."""

from __future__ import annotations

from typing import assert_never

from ottla import errors
from ottla.seam.failures import Refused, Reported, Silent, Throttling, Trouble


def trouble_text(trouble: Trouble) -> str:
    """In one line, for errors, health and the log."""
    match trouble:
        case Reported(text, _):
            return text
        case Refused(code):
            return f"the broker's last answer was {errors.line_of(errors.for_code(code))}"
        case Silent(node_id, address, for_s):
            return f"node {node_id} at {address} has not answered for {for_s:.1f} s"
        case Throttling(node_id, address, for_s):
            return f"node {node_id} at {address} throttles this producer for another {for_s:.1f} s"
        case "backoff":
            return "the partition is held until its backoff has passed"
        case _:
            assert_never(trouble)
