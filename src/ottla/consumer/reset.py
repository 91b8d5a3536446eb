"""The reset policy: the start position without a committed offset, or when the position is out of range. Pure.

References: `auto.offset.reset`, KIP-1106 (by_duration).
"""

from __future__ import annotations

from typing import NamedTuple

from ottla.config.readers import match_duration
from ottla.consumer.list_offsets import EARLIEST, LATEST
from ottla.errors import ConfigError


class ResetPolicy(NamedTuple):
    """A parsed `auto_offset_reset`."""

    name: str
    seconds_back: float | None = None
    """Of by_duration: seconds before now."""

    @property
    def raises(self) -> bool:
        """Whether the user wants an error instead of a reset."""
        return self.name == "none"

    @property
    def is_stable(self) -> bool:
        """Whether a later reset skips nothing that was written in the meantime."""
        return self.name == "earliest"

    def time_ms(self, now_s: float) -> int:
        """The timestamp of the ListOffsets request. now_s: Seconds since the epoch, UTC."""
        if self.seconds_back is not None:
            return max(0, int((now_s - self.seconds_back) * 1000))
        return EARLIEST if self.name == "earliest" else LATEST

    @classmethod
    def parse(cls, text: str) -> ResetPolicy:
        """earliest, latest, none, or by_duration:PnDTnHnMn.nS."""
        if text in ("earliest", "latest", "none"):
            return cls(text)
        kind, _, duration = text.partition(":")
        match = match_duration(duration)
        if kind != "by_duration" or match is None or not any(match.groups()):
            raise ConfigError(
                f"auto_offset_reset is {text!r}; it takes earliest, latest, none or by_duration:PnDTnHnMnS"
            )
        parts = {name: float(value or 0) for name, value in match.groupdict().items()}
        seconds = (
            parts["days"] * 86400 + parts["hours"] * 3600 + parts["minutes"] * 60 + parts["seconds"]
        )
        return cls(text, seconds)
