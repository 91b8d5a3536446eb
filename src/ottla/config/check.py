"""Checks what the user gave against a table: every problem at once, and for an unknown name the nearest one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ottla.config.table import Config, Option, options
from ottla.errors import ConfigError

C = TypeVar("C", bound=Config)


Rules = Callable[[dict[str, Any], frozenset[str], list[str]], None]
"""(values, names that the user gave, problems): fits what was not given, and adds a text for what cannot be."""


def checked(role: type[C], bootstrap_servers: Any, config: Mapping[str, Any], rules: Rules) -> C:
    problems: list[str] = []
    rows = options(role)
    if isinstance(bootstrap_servers, Mapping):
        # As confluent-kafka takes it. Nothing of it is shown: there may be secrets in it.
        problems.append(
            "bootstrap_servers: a mapping was given; options are keyword arguments, so write **config "
            "(names with dots are taken too)"
        )
        bootstrap_servers, config = None, {**bootstrap_servers, **config}
    values, given, meant = _read(role, rows, bootstrap_servers, config, problems)
    if "bootstrap_servers" not in {*given, *meant}:
        problems.append("bootstrap_servers: missing")
    for name, row in rows.items():
        values.setdefault(name, row.default)
    if not problems:
        rules(values, given, problems)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the {role.role} configuration:", problems=problems)
    return role(values, given)


def _read(
    role: type[Config],
    rows: Mapping[str, Option],
    bootstrap_servers: Any,
    config: Mapping[str, Any],
    problems: list[str],
) -> tuple[dict[str, Any], frozenset[str], frozenset[str]]:
    """The values that the user gave, by the options' own names."""
    given = dict(config)
    if bootstrap_servers is not None:
        if any(given.pop(s, None) is not None for s in rows["bootstrap_servers"].spellings()):
            problems.append("bootstrap_servers: given twice")
        given["bootstrap_servers"] = bootstrap_servers
    return read_options(rows, given, problems, role.role)


class Problems(ValueError):
    """What a reader finds wrong with an option that has options of its own; each text begins behind the option's name."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def read_options(
    rows: Mapping[str, Option], given: Mapping[Any, Any], problems: list[str], role: str = ""
) -> tuple[dict[str, Any], frozenset[str], frozenset[str]]:
    """What was given, read, by the options' own names, and those names; what cannot be read is among the problems.

    None is as if the option was not given: so other clients for Python take it, and many of their defaults are None.

    Last, the options that names which there are not were meant for, as far as that can be told.
    """
    by_spelling = {spelling: row for row in rows.values() for spelling in row.spellings()}
    values: dict[str, Any] = {}
    seen: set[str] = set()
    meant: set[str] = set()
    for spelling, value in given.items():
        row = by_spelling.get(spelling) or by_spelling.get(str(spelling).replace("_", "."))
        if row is None:
            problem, option = _unknown(str(spelling), by_spelling, role)
            problems.append(f"{spelling}: {problem}")
            meant.add(option)
            continue
        if value is None:
            continue
        if row.name in seen:
            problems.append(f"{row.name}: given twice, the second time as {spelling!r}")
            continue
        seen.add(row.name)
        try:
            values[row.name] = row.read(value)
        except Problems as several:
            problems.extend(f"{row.name}{problem}" for problem in several.problems)
        except ValueError as error:
            shown = "the value is not usable" if row.secret else str(error)
            problems.append(f"{row.name}: {shown}")
    return values, frozenset(seen), frozenset(meant)


def _unknown(spelling: str, known: Mapping[str, Option], role: str) -> tuple[str, str]:
    """What is said of a name that there is not, and the option that was meant, or an empty text."""
    # Only who gives such a name pays for these.
    import difflib

    from ottla.config.foreign import RENAMED, explained

    name = spelling.replace(".", "_").lower()
    if (text := explained(name)) is not None:
        return text, ""
    if name in known:
        return f"there is no such option; did you mean {known[name].name}?", known[name].name
    if name in RENAMED:
        own, note = RENAMED[name]
        if own in known:
            return f"there is no such option; it is {own} here{note}", own
        return f"there is no such option for a {role or 'topic'}", ""
    if (other := _other_role(name, role)) is not None:
        return f"there is no such option for a {role}: it is one of a {other}", ""
    style = [name for name in known if ("." in name) == ("." in spelling)]
    near = difflib.get_close_matches(spelling, style or list(known), n=1, cutoff=0.6)
    if not near:
        return "there is no such option", ""
    return f"there is no such option; did you mean {near[0]}?", known[near[0]].name


_ROLES = {"producer": "ProducerConfig", "consumer": "ConsumerConfig"}


def _other_role(name: str, role: str) -> str | None:
    """Whose option it is, where it is that of another role."""
    if role not in _ROLES:
        return None
    import importlib

    for other, table in _ROLES.items():
        # The tables import this module, so they are looked up late.
        rows = options(getattr(importlib.import_module(f"ottla.config.{other}"), table))
        spellings = {spelling for row in rows.values() for spelling in row.spellings()}
        if other != role and spellings & {name, name.replace("_", ".")}:
            return other
    return None


def fit_maximum(
    values: dict[str, Any], given: frozenset[str], problems: list[str], low: str, high: str
) -> None:
    """The first may not exceed the second; the one that was not given follows the other."""
    if values[low] <= values[high]:
        return
    if low in given and high in given:
        problems.append(f"{low}: {values[low]} is over {high} ({values[high]})")
    elif low in given:
        values[high] = values[low]
    else:
        values[low] = values[high]
