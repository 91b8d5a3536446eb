"""Fail where a type checker cannot infer the type of a public name of Ottla: pyright's --verifytypes, public modules only.

Pyright takes every name without an underscore for public. What `import ottla` offers comes from the modules below; the
others are the inside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PUBLIC = ("ottla.api.", "ottla.message.", "ottla.errors.", "ottla.kafka_errors.", "ottla.testing.")
TIMEOUT_S = 300


def main() -> None:
    # Pyright finds the environment by the first python on the PATH.
    binaries = Path(sys.executable).parent
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(binaries / "pyright"), "--verifytypes", "ottla", "--ignoreexternal", "--outputjson"],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if not done.stdout.startswith("{"):
        sys.exit(f"pyright failed: {done.stdout}{done.stderr}")
    symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    public = [symbol for symbol in symbols if symbol["name"].startswith(PUBLIC)]
    if not public:
        sys.exit("pyright found no public name at all")
    unknown = [
        symbol for symbol in public if not (symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
    ]
    for symbol in unknown:
        for diagnostic in symbol["diagnostics"]:
            print(f"{symbol['name']}: {diagnostic['message']}")
    print(f"public names: {len(public)}, of unknown type: {len(unknown)}")
    sys.exit(bool(unknown))


if __name__ == "__main__":
    main()
