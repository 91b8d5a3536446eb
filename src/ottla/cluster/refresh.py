"""Requests the metadata: for a part of the client, at its maximum age, and again after a failure.

`metadata` merges the response, `schedule` has the pauses; this module sends the requests. Engine thread only.

References: KIP-899, KIP-1102; Java: Metadata, NetworkClient.DefaultMetadataUpdater.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ottla.cluster.metadata import Changes, MetadataSnapshot, merge
from ottla.cluster.schedule import RefreshSchedule
from ottla.errors import ConnectionLost, Error, NoBrokersAvailable, Timeout, for_code, line_of
from ottla.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic

if TYPE_CHECKING:
    from ottla.cluster.bootstrap import BrokerSearch
    from ottla.cluster.context import ClusterContext
    from ottla.cluster.store import MetadataStore
    from ottla.cluster.wanted import WantedTopics
    from ottla.protocol.messages.metadata import MetadataResponse
    from ottla.wire.connection import Connection

REFRESH_TIMEOUT_S = 60.0
"""Seconds that one caller waits for a refresh; the refresh itself goes on."""

_REBOOTSTRAP_REQUIRED = 129


class Refresher:
    """The metadata requests of one client.

    Args:
        context: The cluster's.
        store: Receives the answers.
        search: Finds a broker.
        wanted: The topics to request.
    """

    def __init__(
        self,
        context: ClusterContext,
        store: MetadataStore,
        search: BrokerSearch,
        wanted: WantedTopics,
    ) -> None:
        self._context = context
        self._store = store
        self._search = search
        self._wanted = wanted
        self._schedule = RefreshSchedule(context.config)
        self._running: asyncio.Task[None] | None = None
        self._pausing: asyncio.Task[None] | None = None
        self._ageing: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        """Callers that wait for the next request that begins."""
        self._requested: str | None = None
        """Why the next refresh is due."""
        self._urgent = False
        self._asked = asyncio.Event()
        self._asking: Connection | None = None
        """The connection of the request in flight."""

    async def first_request(self) -> None:
        """Wait until the first metadata request is in flight."""
        await self._asked.wait()

    def close(self) -> None:
        """End every task; callers that wait get `Closed`."""
        for task in (self._running, self._pausing, self._ageing):
            if task is not None:
                task.cancel()
        self._fail_waiters()

    # ---- asking for a refresh ----------------------------------------------------------------------------------------

    async def refresh(self, reason: str, timeout: float | None, *, urgent: bool = False) -> None:
        """Request the metadata and wait for the answer: `Cluster.refresh`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        self.refresh_soon(reason, urgent=urgent)
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            why = self.describe_wait()
            raise Timeout(f"no metadata within {timeout:g} s ({reason}): {why}") from None

    def refresh_soon(self, reason: str, *, urgent: bool = False) -> None:
        """Request the metadata in the background: `Cluster.refresh_soon`."""
        if self._context.closed:
            self._fail_waiters()
            return
        self._requested = self._requested or reason
        if urgent and not self._urgent:
            self._urgent = True
            if self._pausing is not None:
                self._pausing.cancel()
        if self._running is None:
            self._running = self._context.reactor.spawn(self._refresh_while_requested(), "metadata")

    def describe_wait(self) -> str:
        """Describe in one line what the current refresh waits for, or the failure of the last one."""
        if (trouble := self._context.health.report().get("cluster")) is not None:
            return trouble.reason
        if self._asking is not None:
            return f"{self._asking.address} has not answered the metadata request"
        return f"no connection to {self._search.dialling or 'a broker'} yet"

    # ---- the loop ----------------------------------------------------------------------------------------------------

    async def _refresh_while_requested(self) -> None:
        try:
            # One turn of the loop, so that requests made in the same turn share the first one.
            await asyncio.sleep(0)
            while self._requested is not None:
                await self._pause()
                await self._refresh_once()
        finally:
            self._running = None

    async def _pause(self) -> None:
        """Wait as the schedule says; an urgent request ends the wait, and it is computed again."""
        reactor = self._context.reactor
        while seconds := self._schedule.pause(self._context.now(), self._urgent):
            self._pausing = reactor.spawn(reactor.sleep(seconds), "metadata pause")
            try:
                await asyncio.wait({self._pausing})
            finally:
                self._pausing.cancel()
                self._pausing = None

    async def _refresh_once(self) -> None:
        try:
            # Topics wanted while a broker is searched are in this very request.
            connection = await self._connection_to_ask()
        except Error as error:
            _, waiters = self._begin()
            self._failed(error, waiters)
            return
        except BaseException:
            self._fail_waiters()
            raise
        reason, waiters = self._begin()
        self._context.log.debug("metadata.requested", reason=reason)
        self._asked.set()
        self._asking = connection
        try:
            await self._ask(connection)
        except Error as error:
            self._failed(error, waiters)
        except BaseException:
            _settle(waiters, self._context.closed_error())
            raise
        else:
            self._recovered()
            self._schedule.succeeded(self._context.now())
            self._watch_age()
            _settle(waiters, None)
        finally:
            self._asking = None

    def _begin(self) -> tuple[str | None, list[asyncio.Future[None]]]:
        """A request begins. Returns its reason and its waiters; later callers wait for the next one."""
        reason, self._requested, self._urgent = self._requested, None, False
        waiters, self._waiters = self._waiters, []
        return reason, waiters

    async def _connection_to_ask(self) -> Connection:
        if self._schedule.too_long_without(self._context.now()):
            self._search.start_over("no metadata for metadata_recovery_rebootstrap_trigger_ms")
        return await self._search.any_connection()

    def _failed(self, error: Error, waiters: list[asyncio.Future[None]]) -> None:
        context, now = self._context, self._context.now()
        self._schedule.failed(now)
        text = line_of(error)
        if error.permanent:
            context.summary.add(logging.ERROR, "cluster.refused", reason=text)
        else:
            context.summary.add(
                logging.WARNING,
                "cluster.unreachable",
                reason=text,
                retry_min_ms=context.config.retry_backoff_ms,
                retry_max_ms=context.config.retry_backoff_max_ms,
            )
            self._requested = self._requested or "the last attempt failed"
        context.health.trouble("cluster", text, now)
        context.events.emit("cluster.unreachable", reason=text, attempts=self._schedule.failures)
        _settle(waiters, error)

    def _recovered(self) -> None:
        context = self._context
        trouble = context.health.report().get("cluster")
        if trouble is not None:
            context.health.recovered("cluster")
            context.summary.ended("cluster.unreachable")
            context.log.info(
                "cluster.reachable",
                failures=self._schedule.failures,
                elapsed_s=context.now() - trouble.since,
            )

    def _fail_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        _settle(waiters, self._context.closed_error())

    # ---- one request -------------------------------------------------------------------------------------------------

    async def _ask(self, connection: Connection) -> None:
        """Request the metadata and take the answers.

        Raises:
            NoBrokersAvailable, KafkaError, UnsupportedVersion, DecodeError: There was none.
        """
        creatable, others = self._wanted.creatable(), self._wanted.others()
        # A topic that has vanished must not be in a request that may create topics.
        asked: list[list[str] | None] = [creatable] if creatable else []
        if others or others is None or not creatable:
            asked.append(others)
        requests = [_request(names, create=names is creatable) for names in asked]
        if len(requests) == 1:
            # Not as a task of its own, which would be sent behind requests that wait for `first_request`.
            answers = [await self._ask_any(connection, requests[0])]
        else:
            answers = await asyncio.gather(*(self._ask_any(connection, r) for r in requests))
        for names, (answering, response) in zip(asked, answers, strict=True):
            self._take(answering, names, response)
        self._search.adopt()

    def _take(
        self, connection: Connection, asked: list[str] | None, response: MetadataResponse
    ) -> None:
        if response.error_code == _REBOOTSTRAP_REQUIRED:
            self._search.start_over("the broker asks for it")
        if response.error_code:
            raise for_code(response.error_code, f"{connection.address} gives no metadata")
        if not response.brokers:
            raise NoBrokersAvailable(
                "the metadata names no broker", attempts=[(connection.address, "empty answer")]
            )
        new, changes = merge(self._store.snapshot, response, self._context.now(), asked)
        self._wanted.seen(new.topics.keys())
        self._report(changes, new)
        self._store.replace(new, changes)

    async def _ask_any(
        self, connection: Connection, request: MetadataRequest
    ) -> tuple[Connection, MetadataResponse]:
        """The answer of this connection, or of any other broker that gives one."""
        attempts: list[tuple[str, str]] = []
        while True:
            try:
                return connection, await connection.request(request)
            except (ConnectionLost, Timeout) as error:
                attempts.append((connection.address, error.message))
                if len(attempts) > len(self._store.snapshot.brokers):
                    raise NoBrokersAvailable(
                        "no broker answers a metadata request", attempts=attempts
                    ) from None
            connection = await self._search.any_connection()

    def _report(self, changes: Changes, new: MetadataSnapshot) -> None:
        log = self._context.log
        if changes.other_cluster:
            log.error(
                "cluster.replaced",
                cluster_id=new.cluster_id,
                previous_cluster_id=self._store.snapshot.cluster_id,
            )
        for name in sorted(changes.recreated):
            log.warning("topic.recreated", topic=name)
        for name in sorted(changes.refused):
            # The part of the client that wants the topic logs the consequences.
            log.debug("topic.refused", topic=name, reason=for_code(new.topic_error(name)))
        if changes:
            self._context.events.emit(
                "cluster.changed", brokers=len(new.brokers), topics=changes.topics()
            )

    # ---- age ---------------------------------------------------------------------------------------------------------

    def _watch_age(self) -> None:
        if self._ageing is None:
            self._ageing = self._context.reactor.spawn(self._refresh_at_age(), "metadata age")

    async def _refresh_at_age(self) -> None:
        while not self._context.closed:
            now = self._context.now()
            left = self._schedule.age_left(now, self._store.snapshot.updated_at)
            if left == 0:
                self.refresh_soon("metadata_max_age_ms has passed")
                left = self._context.config.metadata_max_age_ms / 1000
            await self._context.reactor.sleep(left)


def _request(topics: list[str] | None, *, create: bool) -> MetadataRequest:
    return MetadataRequest(
        topics=None if topics is None else [MetadataRequestTopic(name=name) for name in topics],
        allow_auto_topic_creation=create,
    )


def _settle(waiters: list[asyncio.Future[None]], error: Error | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # the caller may have given up meanwhile
