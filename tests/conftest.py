"""The list of fixtures for every test, which are in tests/fixtures, and the command line options."""

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
