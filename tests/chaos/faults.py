"""The faults: each is a function that begins a fault, waits and ends it; it makes its choices with the given random generator.

`NODE_FAULTS` happen one at a time, since each needs the nodes. `PROXY_FAULTS` may happen at the same time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.chaos.proxy import PRODUCE, Action, Direction, Rule
from tests.chaos.stage import Stage

Fault = Callable[[Stage, random.Random], None]
SHORT_FREEZE_S, LONG_FREEZE_S = 5.0, 20.0
AWAY_S = 13.0


# ---- nodes ----------------------------------------------------------------------------------------------------------


def killed(stage: Stage, rng: random.Random) -> None:
    """kill -9, and a restart after a moment."""
    node = rng.choice(stage.nodes)
    stage.cluster.kill(node)
    time.sleep(rng.uniform(0.5, 6.0))
    stage.cluster.restart(node)


def frozen(stage: Stage, rng: random.Random, seconds: float = SHORT_FREEZE_S) -> None:
    """SIGSTOP: sockets stay open and the node never answers."""
    node = rng.choice(stage.nodes)
    stage.pause(node)
    time.sleep(seconds)
    stage.resume(node)


def frozen_long(stage: Stage, rng: random.Random) -> None:
    """SIGSTOP for longer than the node's session: its leaders move, and it wakes up as a node that believes to lead."""
    frozen(stage, rng, LONG_FREEZE_S)


def rolled(stage: Stage, rng: random.Random) -> None:
    """Restart every node, one after another."""
    for node in rng.sample(stage.nodes, len(stage.nodes)):
        stage.cluster.restart(node)


def leaders_moved(stage: Stage, rng: random.Random) -> None:
    """Move every leader a few times, there and back."""
    for _ in range(rng.randint(3, 5)):
        stage.move_leaders(rng.randrange(3))
        time.sleep(rng.uniform(0.2, 1.5))


def replicas_missing(stage: Stage, rng: random.Random) -> None:
    """One node is down while a write needs all three: NOT_ENOUGH_REPLICAS, and after a timeout AFTER_APPEND."""
    node = rng.choice(stage.nodes)
    stage.require_all_replicas(True)
    stage.cluster.kill(node)
    time.sleep(rng.uniform(5.0, 9.0))
    stage.cluster.restart(node)
    stage.require_all_replicas(False)


def two_frozen(stage: Stage, rng: random.Random) -> None:
    """Two of three nodes are frozen, so there is neither a quorum nor enough replicas."""
    nodes = rng.sample(stage.nodes, 2)
    for node in nodes:
        stage.pause(node)
    time.sleep(rng.uniform(4.0, 10.0))
    for node in nodes:
        stage.resume(node)


# ---- connections ----------------------------------------------------------------------------------------------------


def _under(*rules: Rule, low_s: float = 3.0, high_s: float = 5.0) -> Fault:
    """A fault that applies the rules for a few seconds."""

    def strike(stage: Stage, rng: random.Random) -> None:
        stage.proxy.add(*rules)
        time.sleep(rng.uniform(low_s, high_s))
        stage.proxy.remove(*rules)

    return strike


def _at_one_node(
    *what: tuple[Action, Direction], api_key: int | None, low_s: float, high_s: float
) -> Fault:
    """A fault that applies rules for a few seconds to one random node."""

    def strike(stage: Stage, rng: random.Random) -> None:
        node = rng.choice(stage.nodes)
        rules = [Rule(action, on, node, api_key) for action, on in what]
        _under(*rules, low_s=low_s, high_s=high_s)(stage, rng)

    return strike


def connections_reset(stage: Stage, rng: random.Random) -> None:
    """End all connections of a node several times, by RST or by FIN."""
    for _ in range(rng.randint(5, 10)):
        stage.proxy.cut_all(rng.choice(stage.nodes), reset=rng.random() < 0.7)
        time.sleep(rng.uniform(0.1, 0.6))


def connections_refused(stage: Stage, rng: random.Random) -> None:
    """Cut the connections of a node and refuse new ones."""
    node = rng.choice(stage.nodes)
    stage.proxy.refuse(node)
    stage.proxy.cut_all(node, reset=True)
    time.sleep(rng.uniform(2.0, 5.0))
    stage.proxy.accept(node)


def all_away(stage: Stage, rng: random.Random) -> None:
    """No node is reachable for longer than the delivery timeout: messages in flight get `unknown`, the others `not_written`."""
    for node in stage.nodes:
        stage.proxy.refuse(node)
        stage.proxy.cut_all(node, reset=rng.random() < 0.5)
    time.sleep(AWAY_S)
    for node in stage.nodes:
        stage.proxy.accept(node)


def _exponential(mean_s: float) -> Callable[[random.Random], float]:
    return lambda rng: min(rng.expovariate(1 / mean_s), 10 * mean_s)


garbled_anywhere = _under(Rule("garble_body", "answer", chance=0.1))
"""Not among `FAULTS`: no client can detect a garbled offset or error code, so the reported outcome may be wrong."""

NODE_FAULTS: dict[str, Fault] = {
    "killed": killed,
    "frozen": frozen,
    "frozen_long": frozen_long,
    "rolled": rolled,
    "leaders_moved": leaders_moved,
    "replicas_missing": replicas_missing,
    "two_frozen": two_frozen,
}

PROXY_FAULTS: dict[str, Fault] = {
    "cut_before_request": _under(Rule("cut", "request", chance=0.1)),
    "answer_lost": _under(Rule("cut", "answer", chance=0.1)),
    "answer_lost_reset": _under(Rule("cut", "answer", chance=0.1, reset=True)),
    "half_request": _under(
        Rule("halve", "request", chance=0.1), Rule("halve", "request", None, None, 0.02)
    ),
    "half_answer": _under(Rule("halve", "answer", chance=0.1, reset=True)),
    "any_answer_lost": _under(Rule("cut", "answer", None, None, chance=0.2)),
    "connections_reset": connections_reset,
    "connections_refused": connections_refused,
    "all_away": all_away,
    "requests_swallowed": _at_one_node(
        ("swallow", "request"), api_key=PRODUCE, low_s=4.0, high_s=9.0
    ),
    "answers_swallowed": _at_one_node(("swallow", "answer"), api_key=None, low_s=4.0, high_s=9.0),
    "all_swallowed": _at_one_node(
        ("swallow", "request"), ("swallow", "answer"), api_key=None, low_s=4.0, high_s=14.0
    ),
    "packets_lost": _at_one_node(
        ("hold", "request"), ("hold", "answer"), api_key=None, low_s=1.0, high_s=7.0
    ),
    "slow": _under(
        Rule("delay", "request", api_key=None, pause=_exponential(0.05)),
        Rule("delay", "answer", api_key=None, pause=_exponential(0.1)),
    ),
    "late_answers": _under(
        Rule("delay", "answer", chance=0.1, pause=_exponential(2.0)), low_s=5.0, high_s=8.0
    ),
    "narrow": _under(
        Rule("narrow", "request", bytes_per_s=60_000.0),
        Rule("narrow", "answer", bytes_per_s=2_000.0),
    ),
    "length_garbled": _under(Rule("garble_length", "answer", api_key=None, chance=0.05)),
    "head_garbled": _under(Rule("garble_head", "answer", api_key=None, chance=0.05)),
    "shortened": _under(Rule("shorten", "answer", chance=0.05)),
}

FAULTS: dict[str, Fault] = {**NODE_FAULTS, **PROXY_FAULTS}
