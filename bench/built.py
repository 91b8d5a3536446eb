"""The clients in other languages: built from their registries into .cache/bench, when the tools for it are there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from tools.kafka.launch import ROOT

CACHE = ROOT / ".cache" / "bench"
DRIVERS = ROOT / "bench" / "drivers"
BUILD_TIMEOUT_S = 600


class NotBuilt(Exception):
    """Why a client is left out."""


def _need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise NotBuilt(f"{', '.join(missing)} not found")


def _run(*command: str, folder: str) -> None:
    try:
        subprocess.run(
            command,
            cwd=DRIVERS / folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        output = (error.stderr.strip() or error.stdout.strip())[-500:]
        raise NotBuilt(f"{' '.join(command[:3])} failed: {output}") from error
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"{' '.join(command[:3])} took over {BUILD_TIMEOUT_S} s") from error


def _go(name: str) -> tuple[str, ...]:
    _need("go")
    program = CACHE / name
    # Go's own cache makes a second build cost nothing; go.sum pins the fetched modules.
    _run("go", "build", "-mod=readonly", "-o", str(program), f"./{name}", folder="go")
    return (str(program),)


def _java() -> tuple[str, ...]:
    _need("mvn", "java", "javac")
    home, libs = CACHE / "java", CACHE / "java" / "libs"
    done, wanted = home / "resolved", (DRIVERS / "java" / "pom.xml").read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(libs, ignore_errors=True)
        resolve = ("dependency:copy-dependencies", "-DincludeScope=runtime")
        _run("mvn", "-q", "-B", *resolve, f"-DoutputDirectory={libs}", folder="java")
        done.write_text(wanted)
    path = os.pathsep.join((str(home), f"{libs}/*"))
    _run("javac", "-cp", path, "-d", str(home), "Driver.java", folder="java")
    return ("java", "-cp", path, "Driver")


BUILDERS: dict[str, Callable[[], tuple[str, ...]]] = {
    "franz-go": lambda: _go("franz"),
    "sarama": lambda: _go("sarama"),
    "Java client": _java,
}


def command_of(name: str) -> tuple[str, ...]:
    """The command that runs the client's driver, built if need be; NotBuilt says why there is none."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return BUILDERS[name]()
