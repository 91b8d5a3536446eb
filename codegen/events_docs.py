"""Writes the reference of events, docs/reference/events.md, from the table in src/ottla/observe/event_table.py.

python codegen/events_docs.py            write
python codegen/events_docs.py --check    fail where the file is not what the table gives
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from output import write_or_check  # noqa: E402

from ottla.observe.event_table import reference  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "events.md"

if __name__ == "__main__":
    sys.exit(write_or_check({PAGE: reference()}, (), check="--check" in sys.argv[1:]))
