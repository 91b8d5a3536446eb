"""Make the golden vectors: messages as JSON, each with the bytes that Kafka's own classes write.

They go to tests/protocol/golden. Random but seeded JSON is made here from the schemas in kafka-
clients; Golden.java turns it into bytes through Kafka's JSON converters and prints the object's
JSON again, which must equal the input. `python tools/golden/make.py` writes one file per API and
prints how many vectors each has. The schemas are written next to them, without their prose, so that
the tests need neither the jar nor Java.
"""

from __future__ import annotations

import base64
import json
import lzma
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "codegen"))

from kafka_jar import fetch, load_schemas  # noqa: E402
from schema import FIXED, Field, Message, Struct, Versions, load, snake_case  # noqa: E402

FOLDER = ROOT / "tests" / "protocol" / "golden"
KINDS = ("lowest", "highest", "random", "random", "unknown tags")
BITS = {"b": 8, "h": 16, "H": 16, "i": 32, "I": 32, "q": 64}
WORDS = ("", "a", "orders", "Łódź", "客户端", "🎉 done", "x" * 130, "name with spaces", "\u0000\n")
DATA_NAMES = {"request": "Data", "response": "Data", "header": "Data", "data": ""}
ORDER_TIMEOUT_S = 600


class Content:
    """Makes one message's JSON: `kind` says how, `seed` makes it the same each time."""

    def __init__(self, version: int, kind: str, seed: str) -> None:
        self.here = Versions(version, version)
        self.kind = kind
        self.random = random.Random(seed)

    def struct(self, struct: Struct) -> dict[str, Any]:
        made = {}
        for entry in struct.fields:
            if self.here not in entry.versions:
                continue
            if not entry.tagged.empty and self.kind == "lowest":
                continue
            made[json_name(entry)] = self.value(entry)
        return made

    def value(self, entry: Field) -> Any:
        if self.here in entry.nullable and self.chosen(lowest=True, highest=False, odds=0.2):
            return None
        if entry.is_array:
            count = self.random.randint(0, 3)
            count = {"lowest": 0, "highest": 2}.get(self.kind, count)
            return [self.single(entry) for _ in range(count)]
        return self.single(entry)

    def single(self, entry: Field) -> Any:
        if entry.struct:
            return self.struct(entry.struct)
        if entry.element == "string":
            words = {"lowest": ("",), "highest": ("z" * 127, "ż" * 100)}.get(self.kind, WORDS)
            return self.random.choice(words)
        if entry.element in ("bytes", "records"):
            size = {"lowest": 0, "highest": 127}.get(self.kind, self.random.choice((0, 1, 7, 200)))
            return base64.b64encode(self.random.randbytes(size)).decode()
        if entry.element == "uuid":
            return base64.urlsafe_b64encode(self.uuid()).decode().rstrip("=")
        return self.number(FIXED[entry.element].letter)

    def uuid(self) -> bytes:
        return bytes(16) if self.kind == "lowest" else self.random.randbytes(16)

    def number(self, letter: str) -> Any:
        if letter == "?":
            return self.chosen(lowest=False, highest=True, odds=0.5)
        if letter == "d":
            return self.random.choice((0.0, -1.5, 1e300, 0.1)) if self.kind != "lowest" else 0.0
        bits = BITS[letter]
        low, high = (
            (0, 2**bits - 1) if letter.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
        small = self.random.randint(0, 100)
        return {"lowest": low, "highest": high}.get(
            self.kind, self.random.choice((0, small, self.random.randint(low, high)))
        )

    def chosen(self, *, lowest: bool, highest: bool, odds: float) -> bool:
        return {"lowest": lowest, "highest": highest}.get(self.kind, self.random.random() < odds)


def json_name(entry: Field) -> str:
    """Return the field's name in Kafka's JSON form."""
    return entry.json_name[0].lower() + entry.json_name[1:]


def orders(message: Message) -> Iterator[dict[str, Any]]:
    """Yield what Java is asked for: several contents of every version of a message."""
    name = message.root.json_name
    for version in range(message.valid.low, message.valid.high + 1):
        flexible = Versions(version, version) in message.flexible
        for number, kind in enumerate(KINDS):
            if kind == "unknown tags" and not flexible:
                continue
            content = Content(version, kind, f"{name} {version} {number}")
            yield {
                "class": name + DATA_NAMES[message.kind],
                "version": version,
                "unknownTags": kind == "unknown tags",
                "json": content.struct(message.root),
            }


def answers(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let Kafka's classes encode everything that is asked."""
    done = subprocess.run(
        ["java", "-cp", f"{fetch()}/*", str(Path(__file__).with_name("Golden.java"))],
        input="".join(json.dumps(order) + "\n" for order in asked),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=ORDER_TIMEOUT_S,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_same(message: Message, order: dict[str, Any], answer: dict[str, Any]) -> None:
    """Check that Kafka read the JSON as it was meant: the JSON that it writes back is equal."""
    meant, read = order["json"], answer["json"]
    if _comparable(message.root, meant) != _comparable(message.root, read):
        raise SystemExit(f"{message.root.name} v{order['version']}: {meant} was read as {read}")


def _comparable(struct: Struct, value: dict[str, Any]) -> dict[str, Any]:
    """Return JSON without records, which the converter does not write, and without defaults."""
    kept = {}
    for entry in struct.fields:
        name = json_name(entry)
        if name not in value or entry.type == "records":
            continue
        inner = value[name]
        if entry.struct and inner is not None:
            if entry.is_array:
                inner = [_comparable(entry.struct, element) for element in inner]
            else:
                inner = _comparable(entry.struct, inner)
        if entry.tagged.empty or inner not in ({}, [], 0, False, None, entry.default):
            kept[name] = inner
    return kept


def without_prose(schema: Any) -> Any:
    """Return a schema without its sentences."""
    if isinstance(schema, dict):
        return {key: without_prose(value) for key, value in schema.items() if key != "about"}
    return [without_prose(value) for value in schema] if isinstance(schema, list) else schema


def file_name(schema: dict[str, Any]) -> str:
    """Return the name of the file with a message's vectors: its module's name."""
    if schema["type"] == "header":
        return "header"
    if schema["type"] == "data":
        return "consumer_protocol"
    return snake_case(schema["name"].removesuffix("Request").removesuffix("Response"))


def put(path: Path, lines: list[str], *, check: bool) -> bool:
    """Write a file of lines, or with `check` only compare; return whether it differed."""
    data = "".join(line + "\n" for line in lines).encode()
    if path.exists() and lzma.decompress(path.read_bytes()) == data:
        return False
    if not check:
        path.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    return True


def main(*, check: bool) -> int:
    """Write or compare all vectors, print the table of counts, return the exit status."""
    schemas = load_schemas()
    FOLDER.mkdir(parents=True, exist_ok=True)
    asked = [
        (schema, load(schema), order)
        for schema in schemas.values()
        for order in orders(load(schema))
    ]
    files: dict[str, list[str]] = defaultdict(list)
    files["schemas.json.xz"] = [json.dumps(without_prose(schemas), sort_keys=True)]
    counts: Counter[str] = Counter()
    for (schema, message, order), answer in zip(
        asked, answers([order for _, _, order in asked]), strict=True
    ):
        check_same(message, order, answer)
        vector = [schema["name"], order["version"], order["unknownTags"], order["json"]]
        line = json.dumps([*vector, answer["bytes"]], ensure_ascii=False)
        files[f"{file_name(schema)}.jsonl.xz"].append(line)
        counts[schema["name"]] += 1
    differing = [name for name, lines in files.items() if put(FOLDER / name, lines, check=check)]
    for name, count in sorted(counts.items()):
        print(f"{name:<48}{count:>5}")
    print(f"{f'all {len(counts)} messages':<48}{counts.total():>5}")
    print(f"{len(differing)} of {len(files)} files {'differ' if check else 'written'}")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
