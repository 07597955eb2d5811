"""Starts a swarm with a spare for every layer, and in this process a gateway with the chat page."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from p2pinfer.command_line.output import show
from p2pinfer.command_line.stopping import until_signal
from p2pinfer.errors import UsageError
from p2pinfer.gateway.config import GatewayConfig
from p2pinfer.gateway.program import serve
from p2pinfer.gateway.storage import default_storage
from p2pinfer.http.listening import address_of, listen
from p2pinfer.local_swarm.chat.demo import Demo
from p2pinfer.local_swarm.chat.routes import demo_router
from p2pinfer.local_swarm.config import QuickstartConfig
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm, Place
from p2pinfer.model.layer_store.store import LayerStore

_HOST = "127.0.0.1"
_USUAL_PORT = 8470
"""A browser keeps conversations by address: the same port finds them again."""

_MOST_TOKENS = 1_024
"""Of an answer, where the page's settings say nothing."""


def chat(config: QuickstartConfig, store: LayerStore) -> None:
    """Serve the page until a signal comes. Ends every process that it starts, in any case."""
    spans = split_layers(store.manifest.num_layers, config.num_peers)
    with LocalSwarm(say=show) as swarm:
        count = len(spans)
        show(f"starting {count} peers and {count} spares: each layer of {store.manifest.num_layers} has two")
        # Each has a port of its own: any of them can be killed, the first one too, and join the others again.
        swarm.launch(
            store.folder, spans * 2, places=[Place(dht_port=port) for port in _free_ports(2 * count)]
        )
        swarm.wait_ready(_report_ready)
        asyncio.run(until_signal(_serve(config, store.folder, swarm)))
        show("\nstopping")


async def _serve(config: QuickstartConfig, model: Path, swarm: LocalSwarm) -> None:
    """Serve until this is cancelled. Raises UsageError, ModelError and SwarmError if it can't begin."""
    gateway = GatewayConfig(
        initial_peers=tuple(swarm.fixed_addresses),
        models=(str(model),),
        host=_HOST,
        port=config.port or _USUAL_PORT,
        api_keys=None,
        no_keys=False,
        allow_origin=(),
        request_limit=64,
        max_tokens=_MOST_TOKENS,
        cache_folder=config.cache_folder,
        batches=default_storage(),
        no_batches=True,
        files_gb=0.0,
    )
    with _listener(config.port) as listener:
        url = address_of(listener)

        def ready() -> None:
            show(
                f"\nthe chat page is at {url}\nkill a server there in mid-answer; Ctrl-C here ends everything"
            )
            if config.open_browser:
                _open_browser_soon(url)

        await serve(gateway, listener, ready=ready, routers=[demo_router(Demo(swarm))])


def _listener(port: int | None) -> socket.socket:
    """The port that was asked for; otherwise the usual one, or any other if that is taken."""
    if port is not None:
        return listen(_HOST, port)
    with contextlib.suppress(UsageError):
        return listen(_HOST, _USUAL_PORT)
    return listen(_HOST, 0)


def _free_ports(count: int) -> Sequence[int]:
    """Ports that nobody uses now, all different."""
    with contextlib.ExitStack() as open_together:
        listeners = [open_together.enter_context(socket.create_server((_HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _open_browser_soon(url: str) -> None:
    """Open it if there is one and somebody sits before it. Never fails, and holds nothing up."""

    def attempt() -> None:
        with contextlib.suppress(Exception):  # whatever a desktop's own programs do
            webbrowser.open(url)

    if sys.stdout.isatty():
        threading.Thread(target=attempt, name="browser", daemon=True).start()


def _report_ready(server: ServerProcess) -> None:
    show(f"  layers {server.layers}: process {server.pid}, ready after {server.seconds_to_ready:.1f} s")
