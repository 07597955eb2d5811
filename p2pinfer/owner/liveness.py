"""Whether the server that wrote a status still runs."""

from __future__ import annotations

from p2pinfer.owner.status import Status

_CLOCK_SECONDS = 5.0


def runs(status: Status) -> bool:
    """True if the process exists, and isn't a later process with the same number."""
    import psutil  # here: the list of commands is shown without it, too

    try:
        process = psutil.Process(status.process)
        return process.create_time() <= status.written_at + _CLOCK_SECONDS and (
            process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False
