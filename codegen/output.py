"""Write generated files, or compare them with the present ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def write_or_check(files: Mapping[Path, str], stale: Iterable[Path], *, check: bool) -> int:
    """Write `files` and remove `stale`, or only report differences; return the exit status."""
    differing = [
        path for path, text in files.items() if not path.exists() or path.read_text() != text
    ]
    extra = sorted(stale)
    if check:
        for path in [*differing, *extra]:
            print(f"{path}: not what the generator writes; run `make gen`")
        return 1 if differing or extra else 0
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    for path in extra:
        path.unlink()
    print(f"{len(files)} files, {len(differing)} written, {len(extra)} removed")
    return 0
