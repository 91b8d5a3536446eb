"""Clients are neither copied nor pickled: the copy would share connections and threads, which `close` of either ends."""

from __future__ import annotations

from typing import NoReturn


def refuse_copy(client: object) -> NoReturn:
    """Refuse `copy`, `deepcopy` and `pickle`, which call `__reduce__`.

    Raises:
        TypeError: Always; the message names the alternative.
    """
    raise TypeError(
        f"{type(client).__name__} cannot be copied or pickled: its connections and threads belong to this process; create one "
        "in each process, which its threads can share"
    )
