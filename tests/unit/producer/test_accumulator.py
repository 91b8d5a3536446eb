"""The settings of the accumulator: the sizes that the configuration promises."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.config.producer import producer_config
from ottla.errors import MessageTooLarge
from ottla.producer.accumulator import closer, make_flow
from ottla.seam.failures import ErrorData


@pytest.mark.parametrize("more", [{}, {"return_successes": True, "on_delivery": print}])
def test_the_derived_budget_fits_the_largest_message(more: dict[str, Any]) -> None:
    flow = make_flow(None, producer_config("h:1", {"max_message_bytes": 40_000_000, **more}))
    flow.set_topic("t", bytes(16), 1, [0])
    producer = closer(flow)
    with pytest.raises(MessageTooLarge, match="max_message_bytes allows 40000000 "):
        producer.send_nowait("t", bytes(40_000_000))
    assert producer.send_nowait("t", bytes(39_999_900)).outcome is None
    flow.abort_all(ErrorData("closed", 0, "the end"))
