"""Mixed faults until the time is up: `make soak ARGS="--minutes 20 --seed 1"`.

The time is cut into trials of a few minutes, each with a cluster, a topic and producers of its own, and the seed of the
one before plus one; so `--seed N --trials 1` repeats the faults of one trial. README.md says more.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.proxy import Proxy
from tests.chaos.stage import Stage, proxied_cluster
from tests.chaos.trial import Trial, Verdict, mixture

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
TRIAL_MINUTES = 4.0
SHORTEST_S = 30.0


def run_trial(seed: int, seconds: float, only: list[str]) -> Verdict:
    """One trial: faults chosen by the seed until the time is up."""
    until = time.monotonic() + seconds
    with (
        proxied_cluster() as cluster,
        Proxy(cluster.proxy_ports, seed) as proxy,
        Trial(Stage(cluster, proxy), seed) as trial,
    ):
        while time.monotonic() < until:
            names = [trial.rng.choice(only)] if only else mixture(trial.rng)
            print(f"  {until - time.monotonic():4.0f} s left: {' + '.join(names)}", flush=True)
            trial.strike(names)
        return trial.verdict()


def run(arguments: argparse.Namespace, report: Path) -> list[Verdict]:
    """Trials until the time is up; the report is written after each, so that an interrupted soak has the reports of the others."""
    verdicts: list[Verdict] = []
    until = time.monotonic() + arguments.minutes * 60
    while (left := until - time.monotonic()) > SHORTEST_S or not verdicts:
        if len(verdicts) == arguments.trials:
            break
        seed = arguments.seed + len(verdicts)
        print(f"trial with seed {seed}", flush=True)
        verdicts.append(run_trial(seed, min(left, arguments.trial_minutes * 60), arguments.faults))
        print(verdicts[-1], flush=True)
        report.write_text(json.dumps(summary(verdicts), indent=1) + "\n")
    return verdicts


def summary(verdicts: list[Verdict]) -> dict[str, object]:
    """The sums, and every trial."""
    outcomes: dict[str, int] = {}
    faults: dict[str, int] = {}
    broken: dict[str, int] = {}
    latest = 0.0
    for verdict in verdicts:
        for name, count in verdict.faults.items():
            faults[name] = faults.get(name, 0) + count
        for each in verdict.producers.values():
            latest = max(latest, each.slowest_s - each.due_s)
            for what, count in each.outcomes.items():
                outcomes[what] = outcomes.get(what, 0) + count
            for what, count in each.findings.kinds().items():
                broken[what] = broken.get(what, 0) + count
    return {
        "ok": all(verdicts),
        "seconds": round(sum(verdict.seconds for verdict in verdicts)),
        "faults": dict(sorted(faults.items())),
        "outcomes": outcomes,
        "broken": broken,
        "stalls": [stall for verdict in verdicts for stall in verdict.stalls],
        "slowest_progress_s": round(max(v.slowest_progress_s for v in verdicts), 2),
        "latest_outcome_after_due_s": round(latest, 3),
        "worst_starvation_s": round(max(v.worst_starvation_s for v in verdicts), 2),
        "trials": [verdict.as_dict() for verdict in verdicts],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first trial")
    parser.add_argument("--trial-minutes", type=float, default=TRIAL_MINUTES)
    parser.add_argument("--trials", type=int, default=None, help="maximum number of trials")
    parser.add_argument("--faults", nargs="*", default=[], choices=sorted(FAULTS), metavar="FAULT")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="folder of the report and the log"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"soak-{arguments.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    logging.basicConfig(
        filename=stem.with_suffix(".log"),
        level=logging.INFO,
        format="%(asctime)s %(name)s %(message)s",
    )
    total = summary(run(arguments, stem.with_suffix(".json")))
    print(json.dumps({name: value for name, value in total.items() if name != "trials"}, indent=1))
    print(f"written to {stem}.json and .log")
    return 0 if total["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
