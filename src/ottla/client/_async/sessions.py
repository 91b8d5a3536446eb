"""Runs the sessions of a consumer group: one per generation, each claimed partition in a task (or thread) of its own.

Runs in the application's threads or tasks. References: sarama's ConsumerGroup.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ottla.arguments import shown
from ottla.client.dropped import weakly
from ottla.consumer.arguments import topic_names
from ottla.consumer.calls import ASSIGNED, LOST, Call
from ottla.consumer.handler import ClaimState, SessionState
from ottla.engine.claims import ClaimTasks
from ottla.engine.twins import (
    check_callback_async,
    check_claim_method_async,
    check_event_async,
    in_background_async,
    next_ring_async,
    notify_async,
    wait_async,
    watch_event_async,
)
from ottla.errors import Error, Timeout
from ottla.message import OffsetAndMetadata, TopicPartition
from ottla.observe.log import ClientLog
from ottla.virtual_time import monotonic

if TYPE_CHECKING:
    from ottla.client.consumer import ConsumerClient
    from ottla.consumer.liveness import Tokens

_CHECK_S = 0.2
"""Interval between checks whether claims that are waited for have run out of time."""
_LEAST_S = 0.5
"""Minimum time for each step of an ending, however late it is."""
_HANDLER_METHODS = (
    ("setup", "(session)"),
    ("cleanup", "(session)"),
)
_CLAIM_FORM = "(session, claim)"
_EXPLAINED_S = 3.0
"""Seconds after which the log names the claims that an ending waits for."""


class Handler(Protocol):
    """The application's handler."""

    def setup(self, session: Any) -> Any:
        """The session begins."""

    def consume_claim(self, session: Any, claim: Any) -> Any:
        """Process one claim."""

    def cleanup(self, session: Any) -> Any:
        """Every claim has returned."""


class AsyncSessionRunner:
    """The sessions of one group, one after the other.

    Args:
        client: The engine's side.
        make_session: Makes the public session of a state.
        make_claim: Makes the public claim of a state.
    """

    def __init__(
        self,
        client: ConsumerClient,
        make_session: Callable[[SessionState], Any],
        make_claim: Callable[[ClaimState], Any],
    ) -> None:
        self.session: Any = None
        """The public session that runs now; None between sessions."""
        self._client = client
        self._calls = client.application.calls
        self._log = ClientLog("group", client.config.who)
        self._make_session = make_session
        self._make_claim = make_claim
        self._state: SessionState | None = None
        self._running: tuple[ClaimState, ...] = ()
        """Claims whose handler may be running."""
        self._stopping = False
        self._deadline: float | None = None
        """Time by which the ending must be done; set when it begins."""
        self._closed = False
        client.autocommit.finished_offsets = weakly(self, AsyncSessionRunner._finished, {})
        client.application.attention = weakly(self, AsyncSessionRunner._attention, {})

    # ---- consume -----------------------------------------------------------------------------------------------------

    async def consume(self, topics: list[str], handler: Handler, stop: Any, timeout: float) -> None:
        """Run sessions until `stop`, the event of that name, or a failure; then leave the group.

        Args:
            topics: Names.
            handler: Processes the claims.
            stop: An event that ends it when set, or None.
            timeout: Seconds that the ending may take.
        """
        self._stopping = False
        self._deadline = None
        ended = False
        if stop is not None:
            in_background_async(watch_event_async, stop, self.stop, lambda: ended)
        try:
            subscribe = self._client.subscribe
            await wait_async(
                self._client.call("AsyncConsumerGroup.consume", subscribe, topics, None)
            )
            while (call := await self._next_call()) is not None:
                if call.kind == ASSIGNED:
                    await self._run_session(handler, call, timeout)
                else:
                    call.finish()
        finally:
            ended = True
            await self._leave(timeout)

    async def _leave(self, timeout: float) -> None:
        unsubscribe = self._client.unsubscribe
        try:
            left = self._client.call("AsyncConsumerGroup.consume", unsubscribe)
            await wait_async(left, self.left(timeout))
        except Timeout:
            self._log.warning(
                "group.leave_failed",
                group=self._client.config.group_id,
                reason=f"no answer within {timeout:g} s",
            )

    def stop(self) -> None:
        """End `consume`. Threads: any, and signal handlers."""
        self._stopping = True
        self._calls.ring()

    def left(self, timeout: float) -> float:
        """Remaining seconds of an ending that may take `timeout`; the first call begins the ending."""
        now = monotonic()
        if self._deadline is None:
            self._deadline = now + timeout
        return max(_LEAST_S, self._deadline - now)

    async def close(self, timeout: float) -> None:
        """Leave the group and disconnect, once."""
        if self._closed:
            return
        self._closed = True
        self._stopping = True
        await wait_async(self._client.shut_down(timeout))

    async def _next_call(self, tasks: ClaimTasks | None = None) -> Call | None:
        """The next decision of the group; None for a stop or a failed claim."""
        while not self._stopping and (tasks is None or tasks.failure is None):
            call = self._calls.take()
            if call is not None:
                return call
            self._client.enter()
            await next_ring_async(self._calls)
        return None

    # ---- one session -------------------------------------------------------------------------------------------------

    async def _run_session(self, handler: Handler, assigned: Call, timeout: float) -> None:
        """One session, from setup to the final commit; raises what the handler raised."""
        owned = self._client.cursors.owned
        claims = {tp: owned[tp] for tp in assigned.partitions if tp in owned}
        state = SessionState(self._client, claims, assigned.generation)
        session = self._make_session(state)
        assigned.finish()
        tasks = ClaimTasks(self._calls.ring, self._log)
        self._state, self.session = state, session
        ending: Call | None = None
        try:
            await notify_async(handler.setup, session)
            self._running = tuple(state.claims.values())
            for claim in self._running:
                tasks.start(f"claim {claim.tp}", self._work, handler, session, state, claim)
            ending = await self._next_call(tasks)
        finally:
            problem = await self._end_session(handler, state, tasks, ending, timeout)
        if problem is not None and ending is None:
            raise problem

    async def _work(
        self, handler: Handler, session: Any, state: SessionState, claim: ClaimState
    ) -> None:
        try:
            await notify_async(handler.consume_claim, session, self._make_claim(claim))
        finally:
            claim.returned = True
        if not (state.stopping or claim.ended):
            self._log.warning(
                "claim.returned_early", topic=claim.tp.topic, partition=claim.tp.partition
            )

    async def _end_session(
        self,
        handler: Handler,
        state: SessionState,
        tasks: ClaimTasks,
        ending: Call | None,
        timeout: float,
    ) -> Error | None:
        """End the claims, clean up, commit; a step that fails skips none of the others.

        Returns why the final commit failed; raises what a claim raised, else what cleanup raised.
        """
        state.stopping = True
        for claim in state.claims.values():
            self._client.flow.end(*claim.tp)
            claim.end()
        stuck = await self._join(tasks, ending, timeout)
        problem: Error | None = None
        try:
            await notify_async(handler.cleanup, self.session)
        except Exception as error:
            if tasks.failure is None:
                raise
            self._log.error("session.cleanup_failed", exc_info=error, reason=error)
        finally:
            self._running = ()
            if ending is not None and ending.kind == LOST:
                state.commits.end()
            else:
                problem = await self._commit_last(state, None if ending else self.left(timeout))
            self._state = self.session = None
            if ending is not None:
                ending.finish()
        if tasks.failure is not None:
            raise tasks.failure
        if stuck is not None and problem is None:
            raise stuck
        return problem

    async def _join(self, tasks: ClaimTasks, ending: Call | None, timeout: float) -> Timeout | None:
        """Wait for the claims: in a rebalance as long as the group does, after a stop as long as the ending may take.

        Returns the error of claims that were abandoned after a stop.
        """
        begun = monotonic()
        limit = self._client.config.max_poll_interval_ms / 1000
        explained = False
        while alive := await tasks.join(_CHECK_S):
            waited = monotonic() - begun
            is_ending = ending is None or self._stopping
            if is_ending:
                limit = min(limit, waited + self.left(timeout) - _LEAST_S)
            if waited >= limit:
                tasks.abandon()
                self._log.error("claim.abandoned", claims=alive, timeout_s=waited)
                return _abandoned(alive, waited) if is_ending else None
            if waited >= _EXPLAINED_S and not explained:
                explained = True
                self._log.warning("claim.stuck", claims=alive, elapsed_s=waited, timeout_s=limit)
        return None

    async def _commit_last(self, state: SessionState, timeout: float | None) -> Error | None:
        try:
            last = state.commits.commit_last
            asked = self._client.call("AsyncGroupSession: the last commit", last)
            problem = await wait_async(asked, timeout)
        except Timeout as error:
            problem = error
        if problem is not None:
            self._log.error(
                "commit.failed",
                group=self._client.config.group_id,
                reason=problem,
                next_step="the next owner of these partitions reads from the last committed offset",
            )
        return problem

    # ---- read by the engine's side -----------------------------------------------------------------------------------

    def _finished(self) -> dict[TopicPartition, OffsetAndMetadata]:
        state = self._state
        return {} if state is None else state.commits.marks.uncommitted()

    def _attention(self) -> Tokens:
        return {
            claim.tp: None if claim.waiting or claim.returned else claim.handed
            for claim in self._running
        }

    def readers(self) -> dict[str, float]:
        """The claims that wait for records, and since when. Threads: any."""
        return {
            f"claim {claim.tp}": claim.waiting_since
            for claim in self._running
            if claim.waiting and not claim.returned
        }


def _abandoned(claims: list[str], waited: float) -> Timeout:
    return Timeout(
        f"{', '.join(claims)} did not return within {waited:.1f} s after the end of the session and were abandoned; their marks so far "
        "are committed"
    )


def check_consume(topics: Any, handler: Any, stop: Any, base: type) -> list[str]:
    """The names of the topics. base: The handlers' base class, whose `consume_claim` reads nothing.

    Raises:
        TypeError, ValueError: An argument of `run` or `consume` has the wrong type or value; the message names it.
    """
    names = topic_names(topics)
    if not names:
        raise ValueError("topics is empty; it must have the name of a topic")
    if isinstance(handler, type):
        raise TypeError(f"handler must be an object, not {shown(handler)}: make one of it")
    _check_consume_claim(handler, base)
    for name, form in _HANDLER_METHODS:
        check_callback_async(f"handler.{name}", getattr(handler, name, None), form)
    if stop is not None:
        check_event_async("stop", stop)
    return names


def _check_consume_claim(handler: Any, base: type) -> None:
    """Raise TypeError unless the handler has a `consume_claim` of its own: without one nothing would be processed."""
    own = getattr(handler, "consume_claim", None)
    if own is None or getattr(own, "__func__", own) is base.__dict__["consume_claim"]:
        others = [name for name in dir(handler) if name != "consume_claim"]
        near = difflib.get_close_matches("consume_claim", others, 1)
        meant = f"; rename its {near[0]}" if near else ""
        raise TypeError(
            f"handler {type(handler).__qualname__} has no consume_claim{_CLAIM_FORM} of its own{meant}"
        )
    check_claim_method_async("handler.consume_claim", own, _CLAIM_FORM)
