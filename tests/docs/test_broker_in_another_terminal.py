"""The commands that start the embedded broker, as the documents show them; and an example that uses one, as a reader runs it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.testing.broker.__main__ import arguments

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
COMMAND = re.compile(r"^python -m ottla\.testing\.broker\b(.*)$", re.MULTILINE)
LONG_S = 60


def commands() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), command)
        for page in PAGES
        for command in COMMAND.findall(page.read_text())
    ]


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda value: value.strip()[:40])
def test_the_command_is_understood(page: str, command: str) -> None:
    assert arguments(shlex.split(command)).port == 9092, page


def test_the_first_examples_of_the_readme_in_parallel() -> None:
    readme = (ROOT / "README.md").read_text()
    (command,) = COMMAND.findall(readme)
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    anywhere = [sys.executable, "-m", "ottla.testing.broker", *shlex.split(command), "--port", "0"]
    with subprocess.Popen(anywhere, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        ready, bootstrap, *_ = broker.stdout.readline().split()
        assert ready == "ready:"
        try:
            for block in blocks[:2]:
                program = block.replace("localhost:9092", bootstrap)
                ran = subprocess.run(
                    [sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG_S
                )
                assert ran.returncode == 0, ran.stderr
        finally:
            broker.terminate()
        assert broker.wait(LONG_S) == 0
