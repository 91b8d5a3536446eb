"""A trouble as `health()` of a client reports it. Apart from `health`, which every client loads: dataclasses load slowly. Leaf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthTrouble:
    """Why a part of a client cannot do its work."""

    part: str
    """cluster (no metadata), or a place: `orders-3`, or `orders` while its metadata has not come. Of a producer also: identity (no
    producer id), buffer (full), outcomes (not read, or callbacks that do not return). Of a consumer also: `node 3` (a broker that does not answer), group (no
    assignment), membership (refused for good), application (it does not poll), commit (the latest one failed)."""
    reason: str
    """In words."""
    for_s: float
    """Duration; of a producer's place: the age of its oldest message."""
    next: str
    """The next step of the client, or of the user."""
