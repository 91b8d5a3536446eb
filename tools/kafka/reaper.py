"""End the nodes of a cluster, and remove its folder, once the process that started them is gone.

Run by launch.py with the folder as its argument. Lines on standard input say `add PID` and `drop PID`; end of file, which
comes however the parent dies, is the signal. A pidfd per node, never a number, is what gets killed: a number may have
been given to another process by then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main(folder: str) -> None:
    nodes: dict[int, int] = {}
    for line in sys.stdin:
        word, pid = line.split()
        if word == "add":
            with contextlib.suppress(ProcessLookupError):
                nodes[int(pid)] = os.pidfd_open(int(pid))
        elif (pidfd := nodes.pop(int(pid), None)) is not None:
            os.close(pidfd)
    for pidfd in nodes.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
