"""`python -m p2pinfer.health`: a public page about a swarm, or with --once a report on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing

from p2pinfer.command_line.extras import require
from p2pinfer.command_line.output import SpokenLog, complain, has_color, say, show
from p2pinfer.command_line.program import run
from p2pinfer.errors import UsageError
from p2pinfer.health.config import HealthConfig
from p2pinfer.tasks import first_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run the page. Returns 0 after a normal end, 1 after an error, 2 for wrong usage."""
    return run("health", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    config = HealthConfig.from_args(argv)
    require("health")
    _quiet()
    with contextlib.suppress(KeyboardInterrupt):  # that is how it ends
        asyncio.run(_report(config) if config.once else _serve(config))
    return 0


async def _report(config: HealthConfig) -> None:
    """Read the swarm once, probe it if asked to, and print the state."""
    from p2pinfer.health.json_form import as_json
    from p2pinfer.health.kept.keeping import keeping
    from p2pinfer.health.probe import open_client, probe_once
    from p2pinfer.health.terminal import as_text
    from p2pinfer.health.watcher import Watcher

    with keeping(config.data_folder) as (history, contributions):
        watcher = Watcher(config, history, contributions)
        await watcher.watch_once()
        for model in config.probe_models:
            client = await asyncio.to_thread(open_client, config, model)
            with closing(client):
                view = await asyncio.to_thread(probe_once, client, config.probe_tokens)
            watcher.note_probe(client.manifest.hash, view)
    if config.as_json:
        show(json.dumps(as_json(watcher.state()), indent=2))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        report = as_text(watcher.state(), width=width, color=has_color(sys.stdout))
        show(report.removesuffix("\n"))


async def _serve(config: HealthConfig) -> None:
    """Watch the swarm and serve the page until a signal ends it."""
    from p2pinfer.health.kept.keeping import keeping
    from p2pinfer.health.probe import probing
    from p2pinfer.health.watcher import Watcher
    from p2pinfer.health.web.app import create_app
    from p2pinfer.health.web.server import PageServer

    with ExitStack() as resources:
        listener = resources.enter_context(_listen(config))
        history, contributions = resources.enter_context(keeping(config.data_folder))
        watcher = Watcher(config, history, contributions)
        server = PageServer(create_app(watcher))
        host, port = listener.getsockname()[:2]
        say(f"the page is at http://{f'[{host}]' if ':' in host else host}:{port}/")
        with probing(config, watcher.note_probe):
            await first_of(watcher.watch_forever(), server.serve_until_cancelled(listener))


def _listen(config: HealthConfig) -> socket.socket:
    """The socket that visitors connect to. Raises UsageError if it can't be opened."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=512)
    except OSError as error:
        raise UsageError(
            f"--host {config.host} --port {config.port}: can't listen there ({error.strerror or error}); "
            "choose another port, or end the program that uses it"
        ) from error


def _quiet() -> None:
    """Keep libraries from logging. Call it before they are imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[SpokenLog(complain)],
    )
    logging.getLogger("p2pinfer").setLevel(logging.ERROR)  # the page itself says what it can't reach
    logging.getLogger("p2pinfer.health").setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
