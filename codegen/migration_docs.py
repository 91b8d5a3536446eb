"""Writes the tables of option names into docs/migrating, from `ottla/config/foreign_options.py` and the tables of options.

python codegen/migration_docs.py            write
python codegen/migration_docs.py --check    fail where a page does not have what the tables give
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from config_docs import value  # noqa: E402
from output import write_or_check  # noqa: E402

from ottla.config.consumer import ConsumerConfig  # noqa: E402
from ottla.config.foreign_options import PAGES, Name  # noqa: E402
from ottla.config.producer import ProducerConfig  # noqa: E402
from ottla.config.table import Option, options  # noqa: E402

FOLDER = ROOT / "docs" / "migrating"
BEGIN = "<!-- Option names: written by codegen/migration_docs.py. -->\n"
END = "<!-- End of option names. -->\n"

LEGEND = """
Bold defaults differ from theirs. "the same" is accepted unchanged, with dots or underscores; a value of None leaves the default of
Ottla. An unknown name is a `ConfigError` before anything starts; `docs/reference/configuration.md` has all known ones.
"""


def found(rows: Mapping[str, Option], spelling: str) -> Option | None:
    """The option of a spelling, as the check of a configuration finds it."""
    dotted = spelling.replace("_", ".")
    for row in rows.values():
        if spelling in row.spellings() or dotted in row.spellings():
            return row
    return None


UNITS = {"s": 1_000, "min": 60_000, "KiB": 1 << 10, "MiB": 1 << 20}
SYNONYMS = {
    "largest": "latest",
    "offsetnewest": "latest",
    "readuncommitted": "read_uncommitted",
    "the system's": "-1",
    "none": "",
    "required": "",
}


def plain(default: str) -> str:
    """A default in one form, to compare it with another client's."""
    text = default.replace("`", "").partition(" (")[0].strip()
    number, _, unit = text.partition(" ")
    if number.lstrip("-").isdigit():
        return str(int(number) * UNITS.get(unit, 1))
    text = text.strip('"').lower()
    return SYNONYMS.get(text, text)


def row(rows: Mapping[str, Option], name: Name) -> str:
    """One option of another client as a row of the table."""
    spellings = name.theirs.split(", ")
    theirs = ", ".join(f"`{spelling}`" for spelling in spellings)
    if " " in spellings[0]:
        theirs = name.theirs
    if name.gone:
        known = [spelling for spelling in spellings if found(rows, spelling)]
        if known or not name.note:
            raise SystemExit(f"{name.theirs}: is there ({known}), or has no note")
        return f"| {theirs} | {name.default} | none | | {name.note} |"
    taken = {spelling: found(rows, spelling) for spelling in spellings}
    ours = rows[name.ours] if name.ours else next(iter(taken.values()))
    if ours is None or any(other not in (None, ours) for other in taken.values()):
        raise SystemExit(f"{name.theirs}: there is no such option here, or it is not one")
    same = name.ours is None and all(taken.values())
    default = value(ours)
    if plain(default) != plain(name.default):
        default = f"**{default}**"
    return f"| {theirs} | {name.default} | {'the same' if same else f'`{ours.name}`'} | {default} | {name.note} |"


def table(title: str, rows: Mapping[str, Option], names: Iterable[Name]) -> list[str]:
    """A table under its title."""
    head = [
        "",
        f"### {title}",
        "",
        "| theirs | default | here | default here | |",
        "|---|---|---|---|---|",
    ]
    return head + [row(rows, name) for name in names]


def with_tables(client: str, page: str) -> str:
    """The page, with the tables between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{client}: the page has no marks for its tables")
    producers, consumers = PAGES[client]
    lines = [
        *LEGEND.splitlines(),
        *table("Producers, and what all have", options(ProducerConfig), producers),
        *table("Consumers", options(ConsumerConfig), consumers),
        "",
    ]
    return before + BEGIN + "\n".join(lines) + "\n" + END + after


if __name__ == "__main__":
    paths = {client: FOLDER / f"from-{client}.md" for client in PAGES}
    pages = {path: with_tables(client, path.read_text()) for client, path in paths.items()}
    sys.exit(write_or_check(pages, (), check="--check" in sys.argv[1:]))
