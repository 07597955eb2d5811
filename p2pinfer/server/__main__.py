"""`python -m p2pinfer.server`: serve some layers of a model to the swarm."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from p2pinfer.command_line.extras import require
from p2pinfer.command_line.log.setup import log_to
from p2pinfer.command_line.output import say
from p2pinfer.command_line.program import FAILED, run
from p2pinfer.owner.consent import ask, consented
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.server.config import ServerConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server; 0 when it left as asked, 1 when it could not start or go on, 2 for wrong usage."""
    return run("server", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    config = ServerConfig.from_args(argv)
    require("server")
    _quiet(config)
    try:
        if not consented(OwnerFiles(config.data_folder).consent, accept=config.accept, ask=ask, say=say):
            say("nothing was started, and nothing will be before you agree")
            return FAILED
        asyncio.run(_run(config))
    except (KeyboardInterrupt, asyncio.CancelledError):  # before there was anything to leave
        say("stopped before it was ready")
    return 0


async def _run(config: ServerConfig) -> None:
    from p2pinfer.server.life.lifecycle import serve  # after the environment is set: it loads libraries
    from p2pinfer.server.life.shutdown_request import ShutdownRequest

    shutdown = ShutdownRequest()
    serving = asyncio.current_task()
    assert serving is not None

    def stop() -> None:
        if not shutdown.ask():  # asked a third time
            serving.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await serve(config, say, shutdown)


def _quiet(config: ServerConfig) -> None:
    """Keep libraries from logging and from busy waiting. Call it before they are imported."""
    # OpenMP threads that busy-wait while idle starve the other servers of the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    log_to(say, verbose=config.verbose)
    logging.getLogger("p2pinfer").setLevel(logging.DEBUG if config.verbose else logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
