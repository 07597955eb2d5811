"""The page's web server."""

from __future__ import annotations

from fastapi import FastAPI

from p2pinfer.http.connections.proxies import Network
from p2pinfer.http.listening import connections_within, files_for
from p2pinfer.http.server import MOST_CONNECTIONS, WebServer
from p2pinfer.swarm.open_files import allow_open_files

_GIVE_WAY_SECONDS = 0.0005
"""A request needs the interpreter several times. While a snapshot is rendered, each time costs this wait.
With 2,000 servers and 200 requests/s (scripts/bench_health) the 99th percentile is 14 ms instead of 139."""


def page_server(app: FastAPI, proxies: tuple[Network, ...] = ()) -> WebServer:
    """The server of an application that `create_app` has made."""
    most_files = allow_open_files(files_for(MOST_CONNECTIONS))
    return WebServer(
        app,
        end_streams=app.state.events.close,
        give_way_seconds=_GIVE_WAY_SECONDS,
        most_connections=connections_within(most_files, MOST_CONNECTIONS),
        proxies=proxies,
    )
