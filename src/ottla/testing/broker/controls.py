"""The rules of a test for requests: observe, answer, fail, delay, disconnect, spoil the answer.

Rules apply in the order in which they were added: the first that matches and is not used up. The test's thread adds rules and
the broker's thread applies them, both under one lock.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ottla.protocol.api_keys import APIS, ApiKey
from ottla.protocol.base import Message
from ottla.testing.broker.call import Call

KEPT_REQUESTS = 100_000
"""Maximum number of requests in the list of requests."""
Answer = Callable[[Any, Call], Message | None]
"""Gets the request and its call; returns the response, or None to let the broker answer."""
Spoil = Callable[[bytes], bytes]
"""Gets a response with its size in front; returns the bytes to write in its place."""
Kind = Literal["fail", "fail_late", "delay", "answer", "disconnect", "lose_answer", "spoil"]


class Seen(NamedTuple):
    """One request that arrived."""

    node: int
    api: str
    version: int
    client_id: str | None = None


@dataclass(eq=False, slots=True)
class Rule:
    """One rule for requests of one API."""

    api: int
    kind: Kind
    times: int | None
    match: dict[str, Any]
    error: int = 0
    seconds: float = 0.0
    function: Answer | None = None
    spoil: Spoil | None = None
    close: bool = False


@dataclass(eq=False, slots=True)
class Controls:
    """The rules, and the list of requests."""

    requests: deque[Seen] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    counts: Counter[str] = field(default_factory=Counter)
    _rules: list[Rule] = field(default_factory=list)
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def see(self, seen: Seen) -> None:
        """Add a request to the list."""
        with self._lock:
            self.requests.append(seen)
            self.counts[seen.api] += 1
            self._lock.notify_all()

    def seen(self) -> list[Seen]:
        """Return the requests, oldest first, at most the last `KEPT_REQUESTS`."""
        with self._lock:
            return list(self.requests)

    def count(self, api: str) -> int:
        """Return the number of requests of an API that arrived."""
        with self._lock:
            return self.counts[APIS[api_key(api)].name]

    def total(self) -> int:
        """Return the number of requests that arrived."""
        with self._lock:
            return self.counts.total()

    def wait_for(self, api: str, times: int, timeout: float) -> None:
        """Wait until `times` requests of an API have arrived.

        Raises:
            TimeoutError: Fewer arrived within `timeout` seconds.
        """
        name = APIS[api_key(api)].name
        with self._lock:
            if not self._lock.wait_for(lambda: self.counts[name] >= times, timeout):
                raise TimeoutError(f"{self.counts[name]} of {times} {name} requests arrived")

    def add(self, rule: Rule) -> None:
        """Add a rule."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def take(self, request: Message, call: Call) -> Rule | None:
        """Return the rule to apply to a request, and count it as used."""
        with self._lock:
            for rule in self._rules:
                if rule.api != request.API_KEY or not _matches(request, call, rule.match):
                    continue
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule
        return None


def api_key(api: str | int) -> int:
    """Return the key of an API named as in Kafka, such as "Produce".

    Raises:
        ValueError: There is no such API.
    """
    for key, known in APIS.items():
        if api in (key, known.name):
            return int(ApiKey(key))
    raise ValueError(f"no API is called {api!r}")


def _matches(request: Message, call: Call, match: dict[str, Any]) -> bool:
    """Compare with the call (node, version, client_id), with fields, and with topics and groups anywhere inside."""
    for name, wanted in match.items():
        if name in ("node", "version", "client_id"):
            if getattr(call, name) != wanted:
                return False
        elif name == "topic":
            if wanted not in _named(request, ("name", "topic"), call):
                return False
        elif name == "group":
            if wanted not in _named(request, ("group_id", "key"), call):
                return False
        elif getattr(request, name) != wanted:
            return False
    return True


def _named(value: Any, fields: tuple[str, ...], call: Call) -> set[str]:
    """Return all strings in fields of these names, however deep; topic ids count by their names."""
    found: set[str] = set()
    if isinstance(value, list):
        for item in value:
            found |= {item} if isinstance(item, str) else _named(item, fields, call)
    elif hasattr(value, "__slots__"):
        for name in value.__slots__:
            inner = getattr(value, name, None)
            if name in fields and isinstance(inner, str):
                found.add(inner)
            elif name == "topic_id" and inner in call.cluster.topics.by_id:
                found.add(call.cluster.topics.by_id[inner].name)
            elif isinstance(inner, list):
                found |= _named(inner, fields, call)
    return found
