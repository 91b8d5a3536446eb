"""Claims in threads: `SystemExit` in one does not end its thread unseen. (In a task it ends the event loop.)"""

from __future__ import annotations

import pytest

import ottla
from tests.integration._sync.members import QUICK, fill


def test_an_exit_in_a_claim_is_raised(bootstrap: str, topic: str, unique_name: str) -> None:
    fill(bootstrap, topic, 1, partitions=1)

    class Exiting(ottla.ConsumerGroupHandler):
        def consume_claim(self, session: ottla.GroupSession, claim: ottla.Claim) -> None:
            raise SystemExit(3)

    with (
        ottla.ConsumerGroup(
            bootstrap,
            f"g-{unique_name}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            **QUICK,
        ) as group,
        pytest.raises(SystemExit),
    ):
        group.consume([topic], Exiting(), timeout=5)
