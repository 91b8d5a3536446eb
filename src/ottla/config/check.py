"""Checks given options against a table: reports every problem at once, and the nearest name for an unknown one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ottla.config.table import Config, Option, options
from ottla.errors import ConfigError

C = TypeVar("C", bound=Config)
NO_SUCH = "there is no such option"


Rules = Callable[[dict[str, Any], frozenset[str], list[str]], None]
"""(values, given names, problems): adapts options that were not given, and adds a text for each problem."""


class Given(NamedTuple):
    """One option as the user gave it."""

    spelling: str
    value: Any
    place: str
    """Description of its place in the call, for the text about an option that was given twice."""


def given_options(
    first: Any, config: Mapping[str, Any], positional: Mapping[str, Any] | None = None
) -> list[Given]:
    """All arguments of a constructor.

    Args:
        first: Its first argument: addresses, or a mapping of options as confluent-kafka takes it.
        config: Its keywords.
        positional: Its other arguments, by the names of the options.
    """
    given: list[Given] = []
    if isinstance(first, Mapping):
        given += [
            Given(str(name), value, f"{name!r} in the mapping") for name, value in first.items()
        ]
    else:
        given.append(Given("bootstrap_servers", first, "the first argument"))
    for name, value in (positional or {}).items():
        given.append(Given(name, value, "the second argument"))
    keyword = "keyword " if isinstance(first, Mapping) else ""
    given += [Given(name, value, f"{keyword}{name!r}") for name, value in config.items()]
    return given


def checked(role: type[C], given: Sequence[Given], rules: Rules) -> C:
    """The configuration of a role.

    Raises:
        ConfigError: Every problem at once.
    """
    problems: list[str] = []
    rows = options(role)
    values, seen, meant = read_options(rows, given, problems, role.role)
    if "bootstrap_servers" not in {*seen, *meant}:
        problems.append("bootstrap_servers: missing")
    for name, row in rows.items():
        values.setdefault(name, row.default)
    if not problems:
        rules(values, seen, problems)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the {role.role} configuration:", problems=problems)
    return role(values, seen)


class Problems(ValueError):
    """The problems of an option that has options of its own; each text continues the name of the option."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def read_options(
    rows: Mapping[str, Option], given: Iterable[Given], problems: list[str], role: str = ""
) -> tuple[dict[str, Any], frozenset[str], frozenset[str]]:
    """Reads options; every problem is added to `problems`. None counts as not given, as in other clients for Python.

    Returns:
        The values by the names of the options; the names that were given; the options that unknown names most likely mean.
    """
    by_spelling = {spelling: row for row in rows.values() for spelling in row.spellings()}
    values: dict[str, Any] = {}
    seen: dict[str, str] = {}
    meant: set[str] = set()
    for spelling, value, place in given:
        row = by_spelling.get(spelling) or by_spelling.get(spelling.replace("_", "."))
        if row is None:
            problem, option = _unknown(spelling, by_spelling, role)
            problems.append(f"{spelling}: {problem}")
            meant.add(option)
            continue
        if value is None:
            continue
        if row.name in seen:
            topics = row.name == "bootstrap_servers" and role == "consumer"
            hint = "; subscribe() takes topics" if topics else ""
            problems.append(f"{row.name}: given twice, as {seen[row.name]} and as {place}{hint}")
            continue
        seen[row.name] = place
        try:
            values[row.name] = row.read(value)
        except Problems as several:
            problems.extend(f"{row.name}{problem}" for problem in several.problems)
        except ValueError as error:
            shown = "the value is not usable" if row.secret else str(error)
            problems.append(f"{row.name}: {shown}")
    return values, frozenset(seen), frozenset(meant)


def _unknown(spelling: str, known: Mapping[str, Option], role: str) -> tuple[str, str]:
    """The text about an unknown name, and the option that was most likely meant, or an empty text."""
    # Not at the top of the module: a valid configuration needs none of these.
    import difflib

    from ottla.config.foreign import counterpart, explained, normalized

    name = normalized(spelling)
    row = counterpart(name)
    if row is not None and row.gone:
        return f"{NO_SUCH}{explained(row)}", ""
    if name in ("topics", "topic") and role == "consumer":
        return f"{NO_SUCH}: subscribe(topics) takes them, run(topics, handler) of a group", ""
    if name in known:
        return f"{NO_SUCH}; did you mean {known[name].name}?", known[name].name
    if row is not None and row.ours is not None:
        if row.ours in known:
            return f"{NO_SUCH}{explained(row)}", row.ours
        return f"{NO_SUCH} for a {role or 'topic'}", ""
    if (other := _other_role(name, role)) is not None:
        return f"{NO_SUCH} for a {role}: it is one of a {other}", ""
    style = [name for name in known if ("." in name) == ("." in spelling)]
    near = difflib.get_close_matches(spelling, style or list(known), n=1, cutoff=0.6)
    if not near:
        return NO_SUCH, ""
    return f"{NO_SUCH}; did you mean {near[0]}?", known[near[0]].name


_ROLES = {"producer": "ProducerConfig", "consumer": "ConsumerConfig"}


def _other_role(name: str, role: str) -> str | None:
    """The other role that has this option, or None."""
    if role not in _ROLES:
        return None
    import importlib

    for other, table in _ROLES.items():
        # The tables import this module, so they are imported late.
        rows = options(getattr(importlib.import_module(f"ottla.config.{other}"), table))
        spellings = {spelling for row in rows.values() for spelling in row.spellings()}
        if other != role and spellings & {name, name.replace("_", ".")}:
            return other
    return None


def fit_maximum(
    values: dict[str, Any], given: frozenset[str], problems: list[str], low: str, high: str
) -> None:
    """Check that the first option does not exceed the second; one that was not given is adapted."""
    if values[low] <= values[high]:
        return
    if low in given and high in given:
        problems.append(f"{low}: {values[low]} is over {high} ({values[high]})")
    elif low in given:
        values[high] = values[low]
    else:
        values[low] = values[high]
