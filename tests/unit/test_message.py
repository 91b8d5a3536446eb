"""Messages as values: the accepted forms of their headers, and the stored form."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.message import Message

PAIRS = (("a", b"1"), ("b", None))


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_headers_are_a_list_however_they_are_given(kind: type[Any]) -> None:
    message = Message("t", headers=kind(PAIRS))
    assert message.headers == list(PAIRS)
    assert message == Message("t", headers=PAIRS)
    message.headers.append(("c", "3"))
    assert message != Message("t", headers=PAIRS)


def test_a_list_is_not_copied() -> None:
    headers: list[tuple[str, bytes | str | None]] = []
    assert Message("t", headers=headers).headers is headers
    assert Message("t").headers is None


@pytest.mark.parametrize("wrong", ["ab", b"ab", 5])
def test_invalid_headers_are_left_for_the_send_to_name(wrong: object) -> None:
    assert Message("t", headers=wrong).headers is wrong  # type: ignore[arg-type]
