"""From the results of all rounds to one table: medians, and ratios to a reference client in the same run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import Any

REFERENCE = "confluent-kafka"
Result = dict[str, Any]


def _percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def summarise(results: Iterable[Result]) -> list[Result]:
    """One row per work and client, in the order they were first run."""
    cells: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        cells[result["work"], result["name"]].append(result)
    return [_row(work, name, rounds) for (work, name), rounds in cells.items()]


def _row(work: str, name: str, rounds: list[Result]) -> Result:
    row: Result = {"work": work, "name": name, "rounds": len(rounds)}
    if rounds[0]["messages"]:
        row["rate"] = median(one["messages"] / one["seconds"] for one in rounds)
        row["cpu"] = median(one["cpu_seconds"] / one["messages"] * 1e6 for one in rounds)
    if rounds[0].get("latencies_ms"):
        del row["rate"]
        row["p50_ms"] = median(_percentile(one["latencies_ms"], 0.5) for one in rounds)
        row["p99_ms"] = median(_percentile(one["latencies_ms"], 0.99) for one in rounds)
    for key in rounds[0]:
        if key.startswith("ns_per") or key in ("start_seconds", "idle_rss_mb"):
            row[key] = median(one[key] for one in rounds)
    return row


def _ratio(row: Result, reference: Result | None, key: str) -> str:
    if reference is None or reference is row or key not in row or not reference.get(key):
        return ""
    return f"{row[key] / reference[key]:.2f}"


def _figures(row: Result) -> str:
    if "start_seconds" in row:
        return f"{row['start_seconds']:.3f} s, {row['idle_rss_mb']:.0f} MB"
    if "p50_ms" in row:
        return f"p50 {row['p50_ms']:.2f} ms, p99 {row['p99_ms']:.2f} ms"
    if "rate" in row:
        return f"{row['rate'] / 1000:,.0f} k/s"
    names = {key: key.removeprefix("ns_per_").replace("_", " ") for key in row if "ns_per" in key}
    return ", ".join(f"{name} {row[key]:.0f} ns" for key, name in names.items())


def table(rows: list[Result]) -> str:
    """A Markdown table; the ratios are to confluent-kafka in the same work."""
    lines = [
        "| work | client | result | CPU s per million | rate ratio | CPU ratio | time ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    references = {row["work"]: row for row in rows if row["name"] == REFERENCE}
    for row in rows:
        reference = references.get(row["work"])
        cpu = f"{row['cpu']:.2f}" if "cpu" in row else ""
        times = ("p50_ms", "ns_per_call", "start_seconds")
        third = next(filter(None, (_ratio(row, reference, key) for key in times)), "")
        cells = (
            *(row["work"], row["name"], _figures(row), cpu),
            *(_ratio(row, reference, "rate"), _ratio(row, reference, "cpu"), third),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
