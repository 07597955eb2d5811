"""Runs a module in a child process that never outlives its parent.

    python -m p2pinfer.local_swarm.child FD MODULE ARGS...

FD is the reading end of a pipe. Only the parent holds the writing end, so the pipe closes when the parent
ends, for any reason. The child then gets SIGTERM and, after a grace period, its process group gets SIGKILL.
Unlike a parent-death signal this works on macOS too, doesn't depend on the thread of the parent that started
the child, and reaches the child's own children.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 3


def leave_with_parent(pipe: int) -> None:
    """Block until the pipe closes, then end this process and its group."""
    while os.read(pipe, 1):
        pass
    # Outside the group: it must outlive this process and kill its remaining children.
    subprocess.Popen(
        ["sh", "-c", f"sleep {GRACE_SECONDS}; kill -KILL -{os.getpgrp()}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Watch the parent in a thread, and run the module."""
    pipe, module, *arguments = sys.argv[1:]
    os.set_inheritable(int(pipe), False)
    threading.Thread(target=leave_with_parent, args=(int(pipe),), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
