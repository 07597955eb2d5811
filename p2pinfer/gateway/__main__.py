"""`python -m p2pinfer.gateway`: OpenAI's API for the models of a swarm, and keys for those who use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from p2pinfer.command_line.stopping import end_silently_on_signals, leaving_on_signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gateway. Returns 0 after a normal end, 1 after an error, 2 for wrong usage."""
    with leaving_on_signals(status=None):
        from p2pinfer.command_line.program import run

        return run("gateway", lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "keys":
        from p2pinfer.gateway.access.key_command import run_key_command

        return run_key_command(arguments[1:])
    from p2pinfer.command_line.extras import require
    from p2pinfer.command_line.quiet import quiet_libraries
    from p2pinfer.gateway.config import GatewayConfig

    config = GatewayConfig.from_args(arguments)
    with leaving_on_signals(status=0):  # a gateway has no other way to end
        require("gateway")
        quiet_libraries("p2pinfer.gateway")
        from p2pinfer.gateway.program import run_program

        return run_program(config)


if __name__ == "__main__":
    status = main()
    end_silently_on_signals()
    sys.exit(status)
