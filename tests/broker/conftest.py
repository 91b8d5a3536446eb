"""A raw connection to the broker of `--broker`, and an embedded broker with its controls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.testing import Broker
from tests.broker.raw import Client


@pytest.fixture
def client(bootstrap: str) -> Iterator[Client]:
    with Client(bootstrap) as connected:
        yield connected


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running
