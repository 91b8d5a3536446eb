"""The programs of docs/howto/stopping.md as a container runs them: SIGTERM ends each, and nothing of it is lost."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.testing import Broker

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = re.findall(
    r"^```py\n(.*?)^```", (ROOT / "docs/howto/stopping.md").read_text(), re.MULTILINE | re.DOTALL
)
PRODUCERS = [program for program in PROGRAMS if "Producer" in program]
CONSUMERS = [program for program in PROGRAMS if "Consumer" in program]
LONG_S = 60


def run_until_terminated(program: str, broker: Broker, api: str) -> tuple[int, str, str]:
    """Run the program and end it by SIGTERM while it works; return its code and its output."""
    code = program.replace("localhost:9092", broker.bootstrap)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            broker.wait_for(api, 3, LONG_S)
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=LONG_S)
        finally:
            running.kill()
    return running.returncode, out, err


def test_there_are_programs_of_both_kinds() -> None:
    assert (len(PRODUCERS), len(CONSUMERS)) == (3, 1)


@pytest.mark.parametrize("program", PRODUCERS, ids=["flag", "exit", "asyncio"])
def test_sigterm_loses_nothing(program: str) -> None:
    with Broker() as broker:
        code, out, err = run_until_terminated(program, broker, "Produce")
        assert (code, err) == (0, "")
        report = re.fullmatch(r"CloseReport\(delivered=(\d+), failed=0, unknown=0\)\n", out)
        assert report, out
        values = [record.value for record in broker.records("ticks")]
    assert values == [b"%d" % number for number in range(int(report[1]))]


def test_without_a_handler_it_ends_at_once() -> None:
    """The mistake that the page warns of."""
    program = re.sub(r"^signal\.signal\(.*\n", "", PRODUCERS[0], flags=re.MULTILINE)
    with Broker() as broker:
        code, out, _ = run_until_terminated(program, broker, "Produce")
    assert (code, out) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("program", CONSUMERS)
def test_a_signal_ends_the_iteration(program: str) -> None:
    with Broker() as broker:
        for number in range(5):
            broker.append("ticks", b"%d" % number)
        code, out, err = run_until_terminated(program, broker, "Fetch")
        assert (code, err) == (0, "")
        assert out.splitlines()[-1] == "closed"
        assert broker.members("ticks") == []
