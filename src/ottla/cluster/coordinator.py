"""The coordinators of groups and transactional ids: searched, cached, and dropped when they move.

Engine thread only. References: FindCoordinator v0-v6, KIP-699 (many keys in one request, from v4).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

from ottla.cluster.backoff import Backoff
from ottla.cluster.retry import Attempts
from ottla.errors import Error, Timeout, for_code, line_of
from ottla.observe.log import ClientLog
from ottla.protocol.messages.find_coordinator import FindCoordinatorRequest

if TYPE_CHECKING:
    from ottla.cluster.cluster import Cluster
    from ottla.config.common import CommonConfig
    from ottla.engine.reactor import Reactor
    from ottla.protocol.messages.find_coordinator import FindCoordinatorResponse

Kind = Literal["group", "transaction"]

_KEY_TYPES: Final[dict[str, int]] = {"group": 0, "transaction": 1}
_BATCHED_FROM = 4


class Coordinators:
    """The coordinators of one client's groups and transactions."""

    def __init__(self, cluster: Cluster, config: CommonConfig, reactor: Reactor) -> None:
        self._cluster = cluster
        self._reactor = reactor
        self._log = ClientLog("coordinator", config.who)
        self._backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self._known: dict[tuple[Kind, str], int] = {}
        self._searches: dict[tuple[Kind, str], asyncio.Future[int]] = {}

    async def find(self, kind: Kind, key: str, timeout: float = 60.0) -> int:
        """The node id of the coordinator, requested repeatedly while it is loading, moving or unreachable.

        Args:
            kind: "group" or "transaction".
            key: Group id or transactional id.
            timeout: Seconds.

        Raises:
            KafkaError: The broker refuses (not authorized, invalid id).
            Timeout: The time ran out; its message has the error of the last attempt.

        Cancellation: Ends the wait; other callers of the same key are not affected.
        """
        place = (kind, key)
        if place in self._known:
            return self._known[place]
        future = self._searches.get(place)
        if future is None:
            future = self._searches[place] = asyncio.get_running_loop().create_future()
            self._reactor.spawn(self._find(place, future, timeout), f"coordinator of {key}")
        return await asyncio.shield(future)

    def invalidate(self, kind: Kind, key: str) -> None:
        """Drop the coordinator: it has moved or is unreachable. The next `find` searches it."""
        self._known.pop((kind, key), None)

    async def _find(
        self, place: tuple[Kind, str], future: asyncio.Future[int], timeout: float
    ) -> None:
        try:
            node_id = await self._until(place, timeout)
            self._known[place] = node_id
            future.set_result(node_id)
        except Error as error:
            future.set_exception(error)
            future.exception()  # the callers may have been cancelled meanwhile
        except BaseException:
            future.cancel()
            raise
        finally:
            del self._searches[place]

    async def _until(self, place: tuple[Kind, str], timeout: float) -> int:
        """Search until there is a coordinator, or until the time-out."""
        attempts = Attempts(self._backoff, self._reactor.clock, timeout)
        async for _ in attempts:
            try:
                return await self._ask(*place)
            except Error as error:
                attempts.record_failure(error)
                self._log.info(
                    "coordinator.unavailable", kind=place[0], group=place[1], reason=error
                )
        reason = attempts.last_failure
        assert reason is not None
        raise Timeout(f"no coordinator of {place[0]} {place[1]!r}: {line_of(reason)}") from reason

    async def _ask(self, kind: Kind, key: str) -> int:
        connection = await self._cluster.any_connection()
        version = connection.version_for(FindCoordinatorRequest)
        batched = version >= _BATCHED_FROM
        response: FindCoordinatorResponse = await connection.request(
            FindCoordinatorRequest(
                key="" if batched else key,
                key_type=_KEY_TYPES[kind],
                coordinator_keys=[key] if batched else [],
            ),
            version=version,
        )
        answer = response.coordinators[0] if batched and response.coordinators else response
        if answer.error_code:
            raise for_code(answer.error_code, answer.error_message or f"{kind} {key!r}")
        self._cluster.add_node(answer.node_id, answer.host, answer.port)
        self._log.debug("coordinator.found", kind=kind, group=key, node=answer.node_id)
        return answer.node_id
