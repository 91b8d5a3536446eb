"""Every Python block of the README and of the guides runs, one after the other, against a broker of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ottla.testing import Broker

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("intro", "howto", "topics", "migrating")
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "docs" / "reference" / "outcomes.md",
        *(path for name in FOLDERS for path in ROOT.glob(f"docs/{name}/*.md")),
    ]
)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall(path.read_text())
    assert blocks, f"{path.name} has no Python block"
    with Broker() as broker:
        for block in blocks:
            code = block.replace("localhost:9092", broker.bootstrap)
            exec(compile(code, f"{path.name}", "exec"), {"__name__": "__example__"})
