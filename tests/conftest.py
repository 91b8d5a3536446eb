"""What every test may use lies in tests/fixtures; this is only the list, and the options."""

from __future__ import annotations

import pytest

pytest_plugins = [
    "tests.fixtures.brokers",
    "tests.fixtures.header",
    "tests.fixtures.leaks",
    "tests.fixtures.logged",
    "tests.fixtures.raised",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker",
        choices=("embedded", "kafka"),
        default="embedded",
        help="what the integration tests talk to: the embedded broker, or a real Kafka from tools/kafka",
    )
