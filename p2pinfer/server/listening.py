"""Where a server is reached: a TCP address, and a unix socket that the tunnel leads to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from p2pinfer.errors import UsageError
from p2pinfer.server.handler import Handler
from p2pinfer.swarm.dht import Swarm
from p2pinfer.swarm.tunnel import expose
from p2pinfer.wire.certificates import Certificate, new_certificate
from p2pinfer.wire.channels import SERVER_OPTIONS
from p2pinfer.wire.inference_pb2_grpc import add_InferenceServicer_to_server

_LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where others dial this server, and what certificate they find there."""

    endpoints: tuple[str, ...]
    certificate: Certificate


@asynccontextmanager
async def listening(
    listen: str | None, announce: tuple[str, ...], handler: Handler, swarm: Swarm
) -> AsyncIterator[Reachable]:
    """Serve gRPC on the listening address, and on a unix socket that the tunnel leads to."""
    certificate = new_certificate()
    server = grpc.aio.server(options=SERVER_OPTIONS)
    add_InferenceServicer_to_server(handler, server)
    endpoints: tuple[str, ...] = ()
    if listen is not None:
        try:
            port = server.add_secure_port(listen, certificate.credentials)
        except RuntimeError as error:
            raise UsageError(f"--listen {listen}: the address can't be bound; is it in use?") from error
        endpoints = announce or announced_endpoints(listen.rpartition(":")[0], port, swarm.addresses)
    with tempfile.TemporaryDirectory(prefix="p2pinfer-") as folder:
        socket_path = Path(folder) / "inference.sock"
        server.add_secure_port(f"unix:{socket_path}", certificate.credentials)
        await server.start()
        try:
            async with expose(swarm, str(socket_path)):
                yield Reachable(endpoints, certificate)
        finally:
            await server.stop(_LEAVE_SECONDS)


def announced_endpoints(host: str, port: int, swarm_addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The HOST:PORT that others dial: the listening host, or where the swarm sees this machine.

    >>> announced_endpoints("0.0.0.0", 7, ("/ip4/192.0.2.4/tcp/9/p2p/Qm",))
    ('192.0.2.4:7',)
    """
    if host.strip("[]") not in ("0.0.0.0", "::"):
        return (f"{host}:{port}",)
    hosts: dict[str, None] = {}
    for maddr in swarm_addresses:
        _, kind, address, *_ = maddr.split("/")
        if kind in ("ip4", "ip6"):
            hosts[address if kind == "ip4" else f"[{address}]"] = None
    return tuple(f"{address}:{port}" for address in hosts)
