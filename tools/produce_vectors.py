"""Write Kafka's golden vectors of Produce for the Rust tests: `crates/core/tests/data/produce_vectors.txt`.

The vectors are those of `tests/protocol/golden/produce.jsonl.xz`, which Kafka's own classes wrote; here they only change
their form. One line is `request|response <version> <description> <body in hex>`; texts are in hex, `-` is null. With
`--check` nothing is written and a difference is an error.
"""

from __future__ import annotations

import argparse
import base64
import json
import lzma
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests/protocol/golden/produce.jsonl.xz"
TARGET = ROOT / "crates/core/tests/data/produce_vectors.txt"

Json = dict[str, Any]


def text(value: str | None) -> str:
    """Return a text in hex, `-` for null."""
    return "-" if value is None else "x" + value.encode().hex()


def topic_of(topic: Json) -> str:
    """Return a topic's name and id; what its version does not have is empty."""
    topic_id = base64.urlsafe_b64decode(topic.get("topicId", "A" * 22) + "==")
    return f"{text(topic.get('name', ''))},{topic_id.hex()}"


def request(value: Json) -> str | None:
    """Return the description of a request; None where this client never writes such a one (no records)."""
    topics = []
    for topic in value["topicData"]:
        batches = [topic_of(topic)]
        for partition in topic["partitionData"]:
            if partition["records"] is None:
                return None
            batches.append(f"{partition['index']},x{base64.b64decode(partition['records']).hex()}")
        topics.append(";".join(batches))
    head = f"{text(value['transactionalId'])},{value['acks']},{value['timeoutMs']}"
    return "/".join([head, *topics])


def response(value: Json) -> str:
    """Return the description of what the client reads out of a response."""
    nodes: dict[int, Json] = {}
    for node in value.get("nodeEndpoints", []):
        nodes.setdefault(node["nodeId"], node)
    answers = [str(value["throttleTimeMs"])]
    for topic in value["responses"]:
        for partition in topic["partitionResponses"]:
            leader = partition.get("currentLeader", {"leaderId": -1})
            known = leader["leaderId"] >= 0
            node = nodes.get(leader["leaderId"]) if known else None
            answers.append(
                ";".join(
                    [
                        topic_of(topic),
                        *(
                            str(partition[name])
                            for name in ("index", "errorCode", "baseOffset", "logAppendTimeMs")
                        ),
                        str(partition.get("logStartOffset", -1)),
                        ",".join(
                            f"{error['batchIndex']}={text(error['batchIndexErrorMessage'])}"
                            for error in partition.get("recordErrors", [])
                        ),
                        text(partition.get("errorMessage")),
                        f"{leader['leaderId']},{leader['leaderEpoch']}" if known else "-",
                        f"{text(node['host'])},{node['port']}" if node else "-",
                    ]
                )
            )
    return "/".join(answers)


def lines() -> list[str]:
    """Return the whole file's lines."""
    made = []
    for line in lzma.decompress(SOURCE.read_bytes()).decode().splitlines():
        name, version, unknown_tags, value, data = json.loads(line)
        if name == "ProduceResponse":
            made.append(f"response {version} {response(value)} {data}")
        elif not unknown_tags and (described := request(value)) is not None:
            made.append(f"request {version} {described} {data}")
    return made


def main() -> int:
    """Write the file, or check that its content is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    content = "\n".join(lines()) + "\n"
    if parser.parse_args().check:
        if TARGET.read_text() == content:
            return 0
        print(
            f"{TARGET.relative_to(ROOT)} is not what {Path(__file__).name} writes", file=sys.stderr
        )
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
