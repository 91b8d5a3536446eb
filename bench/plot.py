"""The table as a picture: one bar chart per work, written as SVG by hand, so that no plotting library is needed."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import Any

Row = dict[str, Any]
WIDTH = 760
LABEL = 150
BAR = 360
LINE = 20
HEAD = 34
OURS, THEIRS = "#2a6fbb", "#b5b9c0"
# What a work is judged by: the first of these that its rows have; the divisor, the unit.
MEASURES = (
    ("start_seconds", 0.001, "ms to the first delivery, less is better"),
    ("p50_ms", 1.0, "ms, median, less is better"),
    ("ns_per_call", 1.0, "ns a call, less is better"),
    ("rate", 1000.0, "thousand messages/s, more is better"),
)


def _text(x: float, y: float, text: str, *, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(text)}</text>'


def _chart(work: str, rows: list[Row], top: int) -> tuple[list[str], int]:
    """The elements of one work's chart, and where the next one begins."""
    found = (measure for measure in MEASURES if any(measure[0] in row for row in rows))
    key, divisor, unit = next(found, MEASURES[-1])
    rows = [row for row in rows if key in row]
    most = max((row[key] for row in rows), default=0.0) or 1.0
    made = [_text(8, top + 22, f"{work} ({unit})", more='font-weight="bold"')]
    y = top + HEAD
    for row in rows:
        length = BAR * row[key] / most
        colour = OURS if row["name"] == "ottla" else THEIRS
        figure = f"{row[key] / divisor:,.3g}" if row[key] < 100 * divisor else ""
        figure = figure or f"{row[key] / divisor:,.0f}"
        if "rate" in row and "cpu" in row:
            figure += f" · {row['cpu']:.2f} CPU s per million"
        size = f'width="{length:.1f}" height="{LINE - 5}"'
        made.append(_text(LABEL - 6, y + 12, row["name"], more='text-anchor="end"'))
        made.append(f'<rect x="{LABEL}" y="{y}" {size} fill="{colour}"/>')
        made.append(_text(LABEL + length + 6, y + 12, figure))
        y += LINE
    return made, y


def plot(rows: list[Row]) -> str:
    """An SVG document of the rows of report.summarise."""
    works: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        works[row["work"]].append(row)
    body: list[str] = []
    y = 0
    for work, of_work in works.items():
        elements, y = _chart(work, of_work, y)
        body += elements
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 12}"'
        ' font-family="sans-serif" font-size="12">'
    )
    return "\n".join((head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>\n"))
