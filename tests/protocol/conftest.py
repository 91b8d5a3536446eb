"""Makes the helpers of this folder, and the generator, importable by its tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent.parent / "codegen"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
