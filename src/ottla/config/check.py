"""Checks what the user gave against a table: every problem at once, and for an unknown name the nearest one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ottla.config.table import Config, Option, options
from ottla.errors import ConfigError

_NO_TRANSACTIONS = "transactions are not in this release"
_EXPLAINED = {
    "retries": "there is no such option: a message is retried until delivery_timeout_ms has passed",
    "key_serializer": "there is no such option: keys are bytes or str",
    "value_serializer": "there is no such option: values are bytes or str",
    "key_deserializer": "there is no such option: keys are handed over as bytes",
    "value_deserializer": "there is no such option: values are handed over as bytes",
    "sticky_partitioning_linger_ms": "there is no such option: messages without a key change partition by bytes (KIP-794)",
    "transactional_id": _NO_TRANSACTIONS,
    "transaction_timeout_ms": _NO_TRANSACTIONS,
    "group_remote_assignor": "the group protocol of KIP-848 is not in this release",
    "api_version": "there is no such option: versions are agreed with each broker",
    "bootstrap_server": "did you mean bootstrap_servers?",
}
"""Names that users of other clients know, and what is to be said about them."""


C = TypeVar("C", bound=Config)


Rules = Callable[[dict[str, Any], frozenset[str], list[str]], None]
"""(values, names that the user gave, problems): fits what was not given, and adds a text for what cannot be."""


def checked(role: type[C], bootstrap_servers: Any, config: Mapping[str, Any], rules: Rules) -> C:
    problems: list[str] = []
    rows = options(role)
    values, given = _read(rows, bootstrap_servers, config, problems)
    if "bootstrap_servers" not in given:
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
    rows: Mapping[str, Option],
    bootstrap_servers: Any,
    config: Mapping[str, Any],
    problems: list[str],
) -> tuple[dict[str, Any], frozenset[str]]:
    """The values that the user gave, by the options' own names."""
    given = dict(config)
    if bootstrap_servers is not None:
        if any(given.pop(s, None) is not None for s in rows["bootstrap_servers"].spellings()):
            problems.append("bootstrap_servers: given twice")
        given["bootstrap_servers"] = bootstrap_servers
    return read_options(rows, given, problems)


class Problems(ValueError):
    """What a reader finds wrong with an option that has options of its own; each text begins behind the option's name."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def read_options(
    rows: Mapping[str, Option], given: Mapping[Any, Any], problems: list[str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """What was given, read, by the options' own names, and those names; what cannot be read is among the problems."""
    by_spelling = {spelling: row for row in rows.values() for spelling in row.spellings()}
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for spelling, value in given.items():
        row = by_spelling.get(spelling) or by_spelling.get(str(spelling).replace("_", "."))
        if row is None:
            problems.append(f"{spelling}: {_unknown(str(spelling), by_spelling)}")
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
    return values, frozenset(seen)


def _unknown(spelling: str, known: Mapping[str, Option]) -> str:
    name = spelling.replace(".", "_")
    if (explained := _EXPLAINED.get(name)) is not None:
        return explained
    if name.startswith(("ssl_", "sasl_")):
        return "TLS and SASL are not in this release: connections are PLAINTEXT"
    import difflib

    style = [name for name in known if ("." in name) == ("." in spelling)]
    near = difflib.get_close_matches(spelling, style or list(known), n=1, cutoff=0.6)
    return (
        f"there is no such option; did you mean {near[0]}?" if near else "there is no such option"
    )


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
