"""Clients are neither copied nor pickled: two that share connections, threads and what `close` ends would end each other."""

from __future__ import annotations

from typing import NoReturn


def refuse_copy(client: object) -> NoReturn:
    """What `copy`, `deepcopy` and `pickle` come to, by `__reduce__`.

    Raises:
        TypeError: Always; it says what to do.
    """
    raise TypeError(
        f"{type(client).__name__} cannot be copied or pickled: its connections and threads are of this process. Make one in "
        "each process; the threads of a process can share one"
    )
