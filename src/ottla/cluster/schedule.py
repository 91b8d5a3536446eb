"""Pauses before the next metadata request, and before the next dial of a broker. Pure: time is passed in.

References: KIP-144, KIP-580, KIP-601, KIP-1102; Java Metadata.timeToNextUpdate, ClusterConnectionStates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cluster.backoff import Backoff

if TYPE_CHECKING:
    from ottla.config.common import CommonConfig


class RefreshSchedule:
    """Pauses between metadata requests.

    After a failure the pause grows; after a success another refresh waits the shortest pause, unless the last answer
    cannot contain its reason (urgent).
    """

    def __init__(self, config: CommonConfig, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._max_age = config.metadata_max_age_ms / 1000
        self._trigger = config.metadata_recovery_rebootstrap_trigger_ms / 1000
        self.failures = 0
        """Refreshes that failed in a row."""
        self._ended_at: float | None = None
        self._failing_since: float | None = None

    def pause(self, now: float, urgent: bool) -> float:
        """Seconds to wait before the next request."""
        if self._ended_at is None or (urgent and not self.failures):
            return 0.0
        return max(0.0, self._ended_at + self._backoff.delay(max(1, self.failures)) - now)

    def succeeded(self, now: float) -> None:
        """An answer arrived and was used."""
        self.failures = 0
        self._failing_since = None
        self._ended_at = now

    def failed(self, now: float) -> None:
        """There is no answer, or an unusable one."""
        self.failures += 1
        self._ended_at = now
        if self._failing_since is None:
            self._failing_since = now

    def too_long_without(self, now: float) -> bool:
        """Whether refreshes have failed long enough to try the bootstrap list; restarts the time."""
        if self._failing_since is None or now - self._failing_since < self._trigger:
            return False
        self._failing_since = now
        return True

    def age_left(self, now: float, updated_at: float | None) -> float:
        """Seconds until metadata of that time has reached its maximum age."""
        return 0.0 if updated_at is None else max(0.0, updated_at + self._max_age - now)


class DialState:
    """Consecutive failures of one broker, and the pauses and time-outs that follow."""

    def __init__(self, config: CommonConfig) -> None:
        self._backoff = Backoff(config.reconnect_backoff_ms, config.reconnect_backoff_max_ms)
        self._setup = Backoff(
            config.socket_connection_setup_timeout_ms,
            config.socket_connection_setup_timeout_max_ms,
        )
        self.failures = 0
        self._not_before = 0.0

    def wait(self, now: float) -> float:
        """Seconds until it may be dialled."""
        return max(0.0, self._not_before - now)

    def setup_timeout(self) -> float:
        """Seconds that one address may take to accept."""
        return self._setup.delay(self.failures + 1)

    def succeeded(self) -> None:
        """It was reached."""
        self.failures = 0
        self._not_before = 0.0

    def failed(self, now: float) -> None:
        """It could not be reached."""
        self.failures += 1
        self._not_before = now + self._backoff.delay(self.failures)

    def connection_lost(self, now: float) -> None:
        """A connection to it ended: the next dial waits the shortest pause, so that a broker that accepts and closes
        connections is not dialled in a loop.
        """
        self._not_before = max(self._not_before, now + self._backoff.delay(1))
