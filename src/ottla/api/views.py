"""The views of a consumer and of a group, which both worlds share: statistics, health, events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ottla.arguments import function

if TYPE_CHECKING:
    from ottla.client.consumer import ConsumerClient
    from ottla.observe.consumer_health import ConsumerHealth
    from ottla.observe.consumer_statistics import ConsumerStatistics
    from ottla.observe.events import Event


class ConsumerViews:
    """Base class of consumers and groups."""

    _client: ConsumerClient

    _readers: Callable[[], Mapping[str, float]]
    """Returns the calls of the application that wait for records, and since when."""

    def statistics(self) -> ConsumerStatistics:
        """Return the counts since the start and the current state: lag, rates and buffered bytes by partition and by broker, rebalances, commits.

        The numbers of fetching are taken at one moment. The lag of a partition is that of the latest response; `lag()` asks the leaders.
        Counting costs nothing per record. `as_dict()` gives plain values for JSON.

        Returns:
            ConsumerStatistics: frozen; its fields have their units.

        Raises:
            ForkedClient: The client was made before a fork.

        Threads: Any.
        """
        return self._client.statistics()

    def health(self) -> ConsumerHealth:
        """Return whether all assigned partitions can be read and committed; if not, the cause and the next step. Also the current waits.

        Uses what the client knows and requests nothing. `if consumer.health():` is true while all is well. A wait is no
        trouble by itself: a poll waits for records wherever nothing new was written. Once closed the state is "closed",
        without troubles. `as_dict()` gives plain values for JSON.

        Returns:
            ConsumerHealth: state "ok", "degraded" or "closed", troubles, waits, and the membership.

        Raises:
            ForkedClient: The client was made before a fork.

        Threads: Any.
        """
        return self._client.health(self._readers())

    def listen(self, listener: Callable[[Event], object]) -> None:
        """Call `listener` with each `Event` from now on: rebalances, lost partitions, resets, commits, connections, metadata.

        `docs/reference/events.md` has every event with its fields. Listeners run on the dispatcher thread, one call after
        the other: a slow one delays other callbacks and nothing else. An exception in one is logged. Events that a slow
        listener does not receive (10 000 events waiting) are counted in `events.dropped`. Without a listener events cost
        nothing.

        Args:
            listener: A plain function that takes one `Event`; given twice, it is called twice.

        Raises:
            TypeError: It is no such function; nothing was changed.
            ForkedClient: The client was made before a fork.

        Threads: Any.
        """
        function("listener", listener, "(event)")
        self._client.listen(listener)

    def unlisten(self, listener: Callable[[Event], object]) -> None:
        """No longer call `listener`; one that never listened is no error.

        A call that has begun on the dispatcher thread still ends.

        Args:
            listener: As it was given to `listen`.

        Raises:
            ForkedClient: The client was made before a fork.

        Threads: Any.
        """
        self._client.unlisten(listener)
