"""Fetch kafka-clients through Maven into the cache, once, and read the message schemas inside it.

`tools/golden/pom.xml` names the version; everything that is generated starts from that one jar.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "tools" / "golden" / "pom.xml"


def _pinned_version() -> str:
    found = re.search(
        r"<artifactId>kafka-clients</artifactId>\s*<version>([\d.]+)<", POM.read_text()
    )
    if found is None:
        raise ValueError(f"{POM} names no version of kafka-clients")
    return found[1]


KAFKA_VERSION = _pinned_version()
CACHE = ROOT / ".cache" / "kafka-clients"
JAR = CACHE / f"kafka-clients-{KAFKA_VERSION}.jar"
FETCH_TIMEOUT_S = 600

# Between brokers and controllers only: a client never speaks these.
BROKER_ONLY_KEYS = frozenset({52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, *range(82, 88)})
PLAIN_MESSAGES = (
    "RequestHeader",
    "ResponseHeader",
    "ConsumerProtocolSubscription",
    "ConsumerProtocolAssignment",
)


def fetch() -> Path:
    """Return the folder with kafka-clients and the jars it needs, fetched if it is not there."""
    if not JAR.exists():
        fresh = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
        subprocess.run(
            [
                *("mvn", "-q", "-B", "-Dstyle.color=never", "-f", str(POM)),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={fresh}",
            ],
            check=True,
            timeout=FETCH_TIMEOUT_S,
        )
        # One rename, so that an interrupted fetch leaves no half-filled cache behind.
        shutil.rmtree(CACHE, ignore_errors=True)
        fresh.rename(CACHE)
    return CACHE


def _parse(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(re.sub(r"(^|\s)//[^\n]*", "", text))
    return parsed


def load_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schemas a client needs, by message name."""
    fetch()
    schemas = {}
    with zipfile.ZipFile(JAR) as jar:
        for name in sorted(jar.namelist()):
            if not (name.startswith("common/message/") and name.endswith(".json")):
                continue
            schema = _parse(jar.read(name).decode())
            if _is_client_facing(schema):
                schemas[schema["name"]] = schema
    return schemas


def _is_client_facing(schema: dict[str, Any]) -> bool:
    if schema["validVersions"] == "none":
        return False
    if "apiKey" in schema:
        return schema["apiKey"] not in BROKER_ONLY_KEYS
    return schema["name"] in PLAIN_MESSAGES


def run_java(source: Path, *arguments: str, timeout_s: float = 600) -> str:
    """Run a single-file Java program over the cached jars and return its output."""
    done = subprocess.run(
        ["java", "-Xmx1g", "-cp", f"{fetch()}/*", str(source), *arguments],
        check=True,
        timeout=timeout_s,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout
