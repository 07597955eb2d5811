"""How peers reach a server: at a TCP address and through the tunnel. Both lead to gRPC and to lanes.

gRPC serves sessions, and the files of the model (sharing/).
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from p2pinfer.errors import UsageError
from p2pinfer.fairness.sources import Source
from p2pinfer.server.door.endpoints import announced_endpoints
from p2pinfer.server.door.front_door import FindSources, FrontDoor, listen_on
from p2pinfer.server.door.guests import MAX_CONNECTIONS, Guests
from p2pinfer.server.door.open_calls import OpenCalls, guest_of
from p2pinfer.server.door.requests import ParsedRequests
from p2pinfer.server.machine.descriptors import enough_for, raise_limit
from p2pinfer.swarm.addresses import why_not_bound
from p2pinfer.swarm.reach.interfaces import interfaces
from p2pinfer.swarm.records.announcement import MAX_ENDPOINTS
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.wire.certificates import Certificate, new_certificate
from p2pinfer.wire.channels import SERVER_OPTIONS
from p2pinfer.wire.lanes import Lane

AddService = Callable[[Any], None]
"""Adds a service to a grpc.aio.Server."""

logger = logging.getLogger(__name__)

_LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where peers dial this server, and the certificate that they find there."""

    find_endpoints: Callable[[], tuple[str, ...]]
    certificate: Certificate
    sources_of: Callable[[Any], tuple[Source, ...]] = lambda context: ()
    """Where the other side of a gRPC call is, from the call's context."""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """HOST:PORT, as far as is known now: others find out which of them lead here."""
        return self.find_endpoints()


@asynccontextmanager
async def open_to_peers(
    listen: str | None,
    announce: tuple[str, ...],
    services: Sequence[AddService],
    adopt: Callable[[Lane], None],
    swarm: Swarm,
    guests: Guests,
) -> AsyncIterator[Reachable]:
    """Take gRPC calls and lanes at the listening address and through the swarm's tunnel.

    `listen` is HOST:PORT, or None for the tunnel alone; `announce` are the endpoints to announce instead of
    those found here. `adopt` takes a new lane; `guests` are told of the connections and their calls. Raises
    UsageError if the address can't be bound.
    """
    listeners = []
    find_endpoints: Callable[[], tuple[str, ...]] = tuple
    if listen is not None:
        try:
            listeners.append(listen_on(listen))
        except OSError as error:
            host, _, port_text = listen.rpartition(":")
            raise UsageError(f"--listen {listen}: {why_not_bound(error, host, int(port_text))}") from error
        port = listeners[0].getsockname()[1]
        host = listen.rpartition(":")[0]
        find_endpoints = partial(_endpoints, announce, host, port, swarm)
        swarm.reaching.offer(port)
    folder = swarm.private_folder  # if we are killed, the next program that joins removes it
    tunnelled = f"{folder}/door.sock"
    listeners.append(listen_on(tunnelled))
    most = _most_connections()
    async with serve_on_sockets(
        services,
        adopt,
        listeners,
        f"{folder}/grpc.sock",
        most_connections=most,
        guests=guests,
        find_sources=swarm.ways.sources_of,
    ) as certificate:
        async with swarm.ways.expose(tunnelled, guests.merits):
            yield Reachable(
                find_endpoints, certificate, lambda context: guests.sources_of(guest_of(context.peer()))
            )


def _endpoints(announce: tuple[str, ...], host: str, port: int, swarm: Swarm) -> tuple[str, ...]:
    """What the owner says, or what others have reached, and what they haven't tried."""
    seen = swarm.reaching.verdict
    unreachable = seen.hosts_without(port)
    found = announced_endpoints(host, port, swarm.addresses, cards=interfaces(), unreachable=unreachable)
    return announce or tuple(dict.fromkeys((*seen.endpoints([port]), *found)))[:MAX_ENDPOINTS]


def _most_connections() -> int:
    """MAX_CONNECTIONS, or what this process has descriptors for."""
    limit = raise_limit(MAX_CONNECTIONS)
    most = min(MAX_CONNECTIONS, enough_for(limit))
    if most < MAX_CONNECTIONS:
        logger.warning(
            "this system lets the server open %d files: it takes %d connections at a time instead of %d. "
            "To take more, raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            limit,
            most,
            MAX_CONNECTIONS,
        )
    return most


@asynccontextmanager
async def serve_on_sockets(
    services: Sequence[AddService],
    adopt: Callable[[Lane], None],
    listeners: Sequence[socket.socket],
    service_path: str,
    leave_seconds: float = _LEAVE_SECONDS,
    most_connections: int = MAX_CONNECTIONS,
    guests: Guests | None = None,
    find_sources: FindSources = lambda name: (),
) -> AsyncIterator[Certificate]:
    """Serve on sockets that listen already; yields the certificate that peers find there.

    There are at most `most_connections` of gRPC; `guests` decide who makes room for a newcomer, and
    `find_sources` says who stands behind a tunnel. When the block ends,
    open calls get their status, with the reason, within `leave_seconds`.
    """
    certificate = new_certificate()
    guests = Guests() if guests is None else guests
    interceptors = [ParsedRequests(guests), OpenCalls(guests)]
    server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
    for add in services:
        add(server)
    server.add_secure_port(f"unix:{service_path}", certificate.credentials)
    await server.start()
    try:
        door = FrontDoor(
            service_path, certificate.lanes, adopt, guests, most_connections, find_sources=find_sources
        )
        async with door.open(listeners):
            try:
                yield certificate
            finally:  # before the door closes, so that the reason still reaches the clients
                await server.stop(leave_seconds)
    finally:
        await server.stop(None)
