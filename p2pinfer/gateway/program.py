"""Runs a gateway: opens its models and serves them until a signal comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from fastapi import APIRouter

from p2pinfer.command_line.output import say
from p2pinfer.command_line.stopping import until_signal
from p2pinfer.gateway.access.key_file import KeyFile
from p2pinfer.gateway.app import create_app
from p2pinfer.gateway.config import GatewayConfig
from p2pinfer.gateway.gateway import Gateway
from p2pinfer.gateway.loop_lag import watch_loop
from p2pinfer.gateway.page.routes import page_router
from p2pinfer.gateway.serving.opening import Opener
from p2pinfer.gateway.settings import Settings
from p2pinfer.gateway.storage import opened_storage
from p2pinfer.http.listening import address_of, connections_within, files_for, listen
from p2pinfer.http.server import WebServer
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.swarm.open_files import allow_open_files
from p2pinfer.tasks import first_of

_SPARE_CONNECTIONS = 2_000
"""Connections that wait for their next request."""


def run_program(config: GatewayConfig) -> int:
    """Run it until a signal comes. Returns 0: there is no other normal end."""
    asyncio.run(until_signal(_serve(config)))
    return 0


async def _serve(config: GatewayConfig) -> None:
    await asyncio.sleep(0)  # a signal that came during the imports
    with listen(config.host, config.port) as listener:
        url = address_of(listener)
        await serve(
            config,
            listener,
            ready=lambda: say(f"the gateway is at {url}v1, a chat page at {url}, descriptions at {url}docs"),
        )


async def serve(
    config: GatewayConfig,
    listener: socket.socket,
    *,
    ready: Callable[[], None],
    routers: Sequence[APIRouter] = (),
) -> None:
    """Serve until this is cancelled. `ready` is called when the models of the configuration are open.

    `routers` add addresses. Raises UsageError, ModelError and SwarmError if it can't begin.
    """
    keys = KeyFile(config.api_keys) if config.api_keys is not None else None
    models = Models()
    async with AsyncExitStack() as stack:
        storage = None
        if not config.no_batches:
            storage = stack.enter_context(
                opened_storage(config.batches, most_bytes=config.files_bytes, has_owners=keys is not None)
            )
        opener = await stack.enter_async_context(Opener(config, models))
        await opener.open_named()
        app = create_app(
            models,
            Settings(
                keys=None if keys is None else keys.keys,
                origins=config.origins,
                most_requests=config.request_limit,
                most_tokens=config.max_tokens,
            ),
            storage=storage,
            routers=[page_router(), *routers],
        )
        gateway: Gateway = app.state.gateway
        most = config.request_limit + _SPARE_CONNECTIONS
        server = WebServer(
            app,
            end_streams=gateway.streams.end_all,
            most_connections=connections_within(allow_open_files(files_for(most)), most),
            proxies=config.proxies,
        )
        ready()
        await first_of(
            server.serve_until_cancelled(listener),
            opener.look_forever(),
            watch_loop(gateway.metrics.loop_was_late),
            *([] if gateway.batches is None else [gateway.batches.run_forever()]),
        )
