"""Runs a gateway: opens its models and serves them until a signal comes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from p2pinfer.command_line.output import say
from p2pinfer.gateway.access.key_file import KeyFile
from p2pinfer.gateway.app import create_app
from p2pinfer.gateway.config import GatewayConfig
from p2pinfer.gateway.loop_lag import watch_loop
from p2pinfer.gateway.serving.opening import Opener
from p2pinfer.gateway.serving.registry import Models
from p2pinfer.gateway.settings import Settings
from p2pinfer.http.listening import address_of, listen
from p2pinfer.http.server import WebServer
from p2pinfer.http.stopping import until_signal
from p2pinfer.tasks import first_of

_SPARE_CONNECTIONS = 2_000
"""Connections that wait for their next request."""


def run_program(config: GatewayConfig) -> int:
    """Run it until a signal comes. Returns 0: there is no other normal end."""
    asyncio.run(until_signal(_serve(config)))
    return 0


async def _serve(config: GatewayConfig) -> None:
    """Serve until this is cancelled. Raises UsageError, ModelError and SwarmError if it can't begin."""
    await asyncio.sleep(0)  # a signal that came during the imports
    keys = KeyFile(config.api_keys) if config.api_keys is not None else None
    async with AsyncExitStack() as resources:
        listener = resources.enter_context(listen(config.host, config.port))
        models = Models()
        opener = await resources.enter_async_context(Opener(config, models))
        await opener.open_named()
        app = create_app(
            models,
            Settings(
                keys=None if keys is None else keys.keys,
                origins=config.origins,
                most_requests=config.request_limit,
                most_tokens=config.max_tokens,
            ),
        )
        server = WebServer(
            app,
            end_streams=app.state.gateway.streams.end_all,
            most_connections=config.request_limit + _SPARE_CONNECTIONS,
        )
        say(f"the gateway is at {address_of(listener)}v1, its description at {address_of(listener)}docs")
        await first_of(
            server.serve_until_cancelled(listener),
            opener.look_forever(),
            watch_loop(app.state.gateway.metrics.loop_was_late),
        )
