"""Every relative link of the documents leads to a file, and every document is reachable from the README or the index."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "bench/README.md",
        ROOT / "tests/chaos/README.md",
    ]
)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def links_of(page: Path) -> list[tuple[str, Path]]:
    targets = LINK.findall(CODE.sub("", page.read_text()))
    return [(target, (page.parent / target).resolve()) for target in targets if "://" not in target]


def test_links_lead_to_files() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target, path in links_of(page)
        if not path.exists()
    ]
    assert not broken


def test_every_document_is_linked() -> None:
    start = [ROOT / "README.md", ROOT / "docs" / "README.md", ROOT / "docs" / "adr" / "README.md"]
    linked = {path for page in start for _, path in links_of(page)}
    missing = [
        str(page.relative_to(ROOT))
        for page in ROOT.glob("docs/**/*.md")
        if page not in linked and page not in start
    ]
    assert not missing
