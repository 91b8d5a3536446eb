"""The module of an API is loaded only by the code that uses the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
MODULES = sorted(path.stem for path in (SOURCE / "ottla/protocol/messages").glob("[a-z]*.py"))
REPORT = "import json, sys; print(json.dumps([m for m in sys.modules if m.startswith('ottla')]))"


def _loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {REPORT}"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
    )
    return {
        name.removeprefix("ottla.protocol.messages.")
        for name in json.loads(done.stdout)
        if name.startswith("ottla.protocol.messages.")
    }


@pytest.mark.parametrize("module", ["metadata", "produce", "fetch"])
def test_one_api_loads_no_other(module: str) -> None:
    assert _loaded_by(f"import ottla.protocol.messages.{module}") == {module}


def test_no_api_module_imports_another() -> None:
    for module in MODULES:
        text = (SOURCE / "ottla/protocol/messages" / f"{module}.py").read_text()
        imported = {line.split()[1] for line in text.splitlines() if line.startswith("from ottla")}
        assert imported <= {"ottla.protocol.base", "ottla.protocol.primitives"}


def test_registry_and_headers_load_no_api() -> None:
    assert _loaded_by("import ottla.protocol.registry") == set()
    assert _loaded_by("import ottla.protocol.headers") == {"header"}
    assert _loaded_by("import ottla.errors, ottla.kafka_errors") == set()


def test_the_registry_loads_requested_modules_only() -> None:
    asked = "from ottla.protocol.registry import request_class; request_class(3)"
    assert _loaded_by(asked) == {"metadata"}
