"""`python -m p2pinfer.health`: a public page about a swarm, or with --once a report on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from p2pinfer.command_line.stopping import end_silently_on_signals, leaving_on_signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run the page. Returns 0 after a normal end, 1 after an error, 2 for wrong usage."""
    with leaving_on_signals(status=None):
        from p2pinfer.command_line.program import run

        return run("health", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from p2pinfer.command_line.extras import require
    from p2pinfer.command_line.quiet import quiet_libraries
    from p2pinfer.health.config import HealthConfig

    config = HealthConfig.from_args(argv)
    with leaving_on_signals(status=None if config.once else 0):  # a page has no other way to end
        require("health")
        quiet_libraries("p2pinfer.health")
        from p2pinfer.health.program import run_program

        return run_program(config)


if __name__ == "__main__":
    status = main()
    end_silently_on_signals()
    sys.exit(status)
