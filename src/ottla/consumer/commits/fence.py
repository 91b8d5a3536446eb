"""The fence of a commit: the member and the generation under which a partition was owned. Plain values."""

from __future__ import annotations

from typing import NamedTuple


class CommitIdentity(NamedTuple):
    """Member and generation of a commit; the coordinator refuses commits of an older generation."""

    member_id: str = ""
    generation: int = -1
    instance_id: str | None = None
