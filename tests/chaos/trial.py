"""A trial: producers send while faults happen, then the whole topic is read and compared."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checker import PROGRESS_S, Deadline, Findings, check, stalled
from tests.chaos.faults import FAULTS, NODE_FAULTS, PROXY_FAULTS, Fault
from tests.chaos.ledger import StarvationWatch
from tests.chaos.reader import read_by_producer
from tests.chaos.stage import PARTITIONS, Stage
from tests.chaos.workload import LOADS, Load, Worker, Workload

_TOPICS = itertools.count()
OUTCOME_GRACE_S = 1.0
WARM_UP_S = 1.0
FAULT_S = 90.0
"""Maximum duration of a fault in seconds, rolling restarts on a slow machine included."""
POLL_S = 0.02
ANYWHERE = -1


@dataclass
class ProducerVerdict:
    """The findings about one producer."""

    outcomes: Counter[str]
    reasons: Counter[str]
    slowest_s: float
    due_s: float
    findings: Findings
    miscounted: str
    """Difference between the report of `close` and the outcomes, or an empty text."""

    def __bool__(self) -> bool:
        return not self.findings and not self.miscounted


@dataclass
class Verdict:
    """The result of a trial."""

    seed: int
    faults: Counter[str]
    proxied: Counter[str]
    producers: dict[str, ProducerVerdict]
    stalls: list[str]
    slowest_progress_s: float
    worst_starvation_s: float
    seconds: float

    def __bool__(self) -> bool:
        return all(self.producers.values()) and not self.stalls

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        producers = {
            name: {
                "outcomes": dict(each.outcomes),
                "reasons": dict(each.reasons),
                "slowest_outcome_s": round(each.slowest_s, 3),
                "due_s": each.due_s,
                "findings": {
                    kind: found[:20] for kind, found in vars(each.findings).items() if found
                },
                "broken": each.findings.kinds(),
                "miscounted": each.miscounted,
            }
            for name, each in self.producers.items()
        }
        return {
            "seed": self.seed,
            "ok": bool(self),
            "seconds": round(self.seconds, 1),
            "faults": dict(self.faults),
            "frames_struck": dict(self.proxied),
            "stalls": self.stalls,
            "slowest_progress_s": round(self.slowest_progress_s, 3),
            "worst_starvation_s": round(self.worst_starvation_s, 3),
            "producers": producers,
        }

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s: {'every promise kept' if self else 'BROKEN'}",
            "  faults: " + _listed(self.faults),
            "  frames struck: " + _listed(self.proxied),
            f"  slowest progress after a fault: {self.slowest_progress_s:.2f} s of {PROGRESS_S:.0f} s"
            f"; this process overslept {self.worst_starvation_s:.2f} s at worst",
        ]
        lines += [f"  stalled: {stall}" for stall in self.stalls]
        for name, each in self.producers.items():
            lines.append(
                f"  {name}: {_listed(each.outcomes)}; slowest outcome {each.slowest_s:.2f} s of {each.due_s:.0f} s"
                f"; {each.findings}{each.miscounted and '; ' + each.miscounted}"
            )
            if each.reasons:
                lines.append("    " + _listed(each.reasons))
        return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


@dataclass
class Trial:
    """One topic, one workload, any number of faults; `with Trial(stage, seed) as trial: trial.strike(["killed"])`."""

    stage: Stage
    seed: int
    loads: Sequence[Load] = LOADS
    stalls: list[str] = field(default_factory=list)
    slowest_progress_s: float = 0.0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Trial:
        self._began = time.monotonic()
        self.rng = random.Random(self.seed)
        self.stage.new_topic(f"trial-{self.seed}-{next(_TOPICS)}")
        self.stage.struck.clear()
        self.stage.proxy.counts.clear()
        self.stage.proxy.rng.seed(self.seed)
        self._watch = self._stack.enter_context(StarvationWatch())
        self._workload = self._stack.enter_context(
            Workload(self.loads, self.stage.cluster.proxy_bootstrap, self.stage.topic, self.seed)
        )
        self.check_progress("the start", time.monotonic())
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    # ---- faults ----------------------------------------------------------------------------------------------------

    def strike(self, names: Sequence[str]) -> None:
        """Run these faults at the same time until the last one ends; then the producers must write again."""
        self.strike_with({name: FAULTS[name] for name in names})

    def strike_with(self, faults: Mapping[str, Fault]) -> None:
        """Run the given faults as `strike` does."""
        time.sleep(WARM_UP_S)
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=self._one, args=[name, fault, self.rng.random(), failures])
            for name, fault in faults.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FAULT_S)
            assert not thread.is_alive(), f"a fault of {list(faults)} does not end"
        if failures:
            raise failures[0]
        self.check_progress(" and ".join(faults), self.stage.heal())

    def _one(self, name: str, fault: Fault, seed: float, failures: list[BaseException]) -> None:
        try:
            fault(self.stage, random.Random(seed))
            self.stage.struck[name] += 1
        except BaseException as error:
            failures.append(error)

    def check_progress(self, after: str, healed: float) -> None:
        """Wait until every producer has written again in each of its partitions; a missing partition is a stall."""
        for worker in self._workload.workers:
            worker.ledger.mark()
        for worker in self._workload.workers:
            behind = self._await_progress(worker, healed)
            if behind:
                self.stalls.append(f"{worker.load.name} after {after}: partitions {behind}")

    def _await_progress(self, worker: Worker, healed: float) -> list[int]:
        """The partitions without a new record in time; returns as soon as there are none."""
        expected = range(PARTITIONS) if worker.load.keyed else [ANYWHERE]
        while True:
            now = time.monotonic()
            margin = self._watch.margin(healed, now)
            written = _first_written(worker)
            if now > healed + PROGRESS_S + margin or all(n in written for n in expected):
                self.slowest_progress_s = max(
                    [self.slowest_progress_s, *(at - healed for at in written.values())]
                )
                return stalled(healed, written, expected, margin)
            time.sleep(POLL_S)

    # ---- the end ---------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        """Stop the producers, read the topic and compare."""
        self._workload.finish()
        stage = self.stage
        seen = read_by_producer(stage.cluster.bootstrap, stage.topic, PARTITIONS)
        producers = {}
        for worker in self._workload.workers:
            due = worker.load.delivery_timeout_ms / 1000 + OUTCOME_GRACE_S
            findings = check(
                worker.ledger.sent(),
                seen.pop(worker.load.name, []),
                Deadline(due, self._watch.margin),
            )
            producers[worker.load.name] = ProducerVerdict(
                worker.ledger.counts(),
                worker.ledger.reasons,
                worker.ledger.slowest(),
                due,
                findings,
                _miscounted(worker),
            )
        assert not seen, f"records of unknown producers: {list(seen)}"
        return Verdict(
            self.seed,
            Counter(stage.struck),
            Counter(stage.proxy.counts),
            producers,
            self.stalls,
            self.slowest_progress_s,
            self._watch.worst,
            time.monotonic() - self._began,
        )


def _first_written(worker: Worker) -> dict[int, float]:
    """First written message by partition; a producer without keys chooses its partitions, so one of them is enough."""
    written = dict(worker.ledger.first_written)
    if worker.load.keyed or not written:
        return written
    return {ANYWHERE: min(written.values())}


def _miscounted(worker: Worker) -> str:
    counts = worker.ledger.counts()
    report = worker.report
    assert report is not None
    counted = (counts["written"], counts["not_written"], counts["unknown"])
    reported = (report.delivered, report.failed, report.unknown)
    return "" if counted == reported else f"close reports {reported}, the deliveries have {counted}"


def mixture(rng: random.Random) -> list[str]:
    """Faults for one strike of a soak: of the nodes, of their connections, or both at once."""
    choice = rng.random()
    proxied = rng.sample(sorted(PROXY_FAULTS), rng.randint(1, 2))
    if choice < 0.4:
        return proxied
    node = rng.choice(sorted(NODE_FAULTS))
    return [node] if choice < 0.65 else [node, *proxied[:1]]
