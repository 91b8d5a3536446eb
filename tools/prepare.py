"""Bring the working folder up to date, once per content: `python tools/prepare.py venv peers build ...`.

`build` makes the extension that tests need, `wheel` the one that users get; both are imported from the same place.

Each step has inputs; a hash of their contents when the step last succeeded is stored in `.venv/stamps`, and a step whose
inputs have not changed costs milliseconds. A lock keeps several runs in one folder apart.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / "stamps"
EXTENSION = ROOT / "src" / "ottla" / "_native.abi3.so"
INSTALL_TIMEOUT_S = 1200
BUILD_TIMEOUT_S = 2400
OLDEST_PYTHON = (3, 11)


def _content(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _run(command: list[str], timeout_s: float) -> None:
    subprocess.run(command, cwd=ROOT, check=True, timeout=timeout_s, stdin=subprocess.DEVNULL)


def _step(name: str, wanted: Callable[[], str], work: Callable[[], None]) -> None:
    stamp = STAMPS / name
    if stamp.exists() and stamp.read_text() == wanted():
        return
    stamp.unlink(missing_ok=True)
    print(f"prepare: {name}", flush=True)
    work()
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted())


def _install(requirements: Path) -> None:
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    _run([*pip, "install", "-r", str(requirements)], INSTALL_TIMEOUT_S)


def make_venv() -> None:
    """Virtual environment with the tools of requirements-dev.txt."""
    requirements = ROOT / "requirements-dev.txt"

    def work() -> None:
        if not (VENV / "bin" / "python").exists():
            venv.create(VENV, with_pip=True, symlinks=True)
        _install(requirements)

    _step("venv", lambda: _content([requirements]), work)


def install_peers() -> None:
    """The other clients, for tests/peers and bench."""
    requirements = ROOT / "bench" / "requirements.txt"
    _step("peers", lambda: _content([requirements]), lambda: _install(requirements))


def build_extension(profile: str, features: str = "") -> None:
    """The extension, built by cargo through maturin; `ottla` becomes importable from src.

    Without features it is what a wheel has; `testing` adds what only tests call.
    """
    sources = [path for path in (ROOT / "crates").rglob("*") if path.is_file()]
    sources += [ROOT / name for name in ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packaging = [project["build-system"], project["project"], project["tool"]["maturin"]]
    inputs = f"{_content(sources)} {hashlib.sha256(json.dumps(packaging).encode()).hexdigest()}"

    def wanted() -> str:
        # The file itself belongs to the stamp: somebody may have built another profile over it.
        built = EXTENSION.stat() if EXTENSION.exists() else None
        what = f"{profile} {features} {inputs}"
        return f"{what} {built.st_size} {built.st_mtime_ns}" if built else "missing"

    def work() -> None:
        maturin = [str(VENV / "bin" / "maturin"), "develop", "-q", "--profile", profile]
        if features:
            maturin += ["--features", features]
        # One target folder, even if the environment names another, so that every caller shares the compiled crates.
        _run([*maturin, "--target-dir", str(ROOT / "target")], BUILD_TIMEOUT_S)

    _step("extension", wanted, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", choices=("venv", "peers", "build", "wheel"))
    parser.add_argument("--profile", default="release", choices=("release", "quick"))
    arguments = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        raise SystemExit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    (ROOT / ".cache").mkdir(exist_ok=True)
    os.environ["VIRTUAL_ENV"] = str(VENV)
    with (ROOT / ".cache" / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_venv()
        if "peers" in arguments.steps:
            install_peers()
        if "build" in arguments.steps:
            build_extension(arguments.profile, "testing")
        if "wheel" in arguments.steps:
            build_extension("release")


if __name__ == "__main__":
    try:
        main()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.exit(f"prepare: {error}")
