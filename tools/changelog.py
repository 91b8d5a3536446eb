"""Move the fragments of changelog.d into CHANGELOG.md: `python tools/changelog.py VERSION`; `--check` only reads them."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAGMENTS = ROOT / "changelog.d"
PAGE = ROOT / "CHANGELOG.md"
MARK = "<!-- releases below: tools/changelog.py writes here -->\n"
KINDS = {
    "breaking": "Breaking",
    "feature": "New",
    "fix": "Fixed",
    "perf": "Faster",
    "doc": "Documentation",
}


def read() -> tuple[dict[str, list[str]], list[Path]]:
    """Return the texts by kind, and their files; anything that is not `<name>.<kind>.md` ends the program."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    files = sorted(FRAGMENTS.glob("*"))
    for path in files:
        parts = path.name.split(".")
        text = " ".join(path.read_text().split())
        if len(parts) != 3 or parts[1] not in KINDS or parts[2] != "md" or not text:
            sys.exit(
                f"changelog.d/{path.name}: a fragment is <name>.<{'|'.join(KINDS)}>.md with text"
            )
        found[parts[1]].append(text)
    return found, files


def release(version: str, today: datetime.date) -> str:
    """Return the section of a release."""
    texts, _ = read()
    lines = [f"## {version} ({today.isoformat()})", ""]
    for kind, title in KINDS.items():
        if texts[kind]:
            lines += [f"### {title}", "", *(f"- {text}" for text in texts[kind]), ""]
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        read()
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    page = PAGE.read_text()
    if MARK not in page:
        sys.exit("CHANGELOG.md has lost the line that releases are written under")
    section = release(sys.argv[1], datetime.datetime.now(datetime.UTC).date())
    PAGE.write_text(page.replace(MARK, f"{MARK}\n{section}"))
    for path in read()[1]:
        path.unlink()


if __name__ == "__main__":
    main()
