"""A home in the lab, with programs that speak inside and outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from scripts.lab import PROFILES, LabHost, LabRouter, LabUnavailableError, RouterKind, WanLab
from tests.lab.speaker import Speaker, speaking

LAN = PROFILES["lan"]
PORT = 4001
BEHIND_A_ROUTER = [kind for kind in RouterKind if kind is not RouterKind.NONE]
UDP_PASSES = [kind for kind in BEHIND_A_ROUTER if kind is not RouterKind.UDP_BLOCKED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A host behind a router, and two hosts with public addresses, one of them with two ports."""

    router: LabRouter
    host: LabHost
    inside: Speaker
    friend: Speaker
    friend_address: str
    other_port: Speaker
    stranger: Speaker
    stranger_address: str


def add_router(lab: WanLab, name: str, kind: RouterKind, **settings: object) -> LabRouter:
    """A router; the test is skipped, with the reason, where there can be none."""
    try:
        return lab.add_router(name, LAN, kind, **settings)  # type: ignore[arg-type]
    except LabUnavailableError as error:
        pytest.skip(str(error))


@contextmanager
def home_of(lab: WanLab, kind: RouterKind) -> Iterator[Home]:
    router = add_router(lab, "router", kind)
    host, friend, stranger = (
        router.add_host("host"),
        lab.add_host("friend", LAN),
        lab.add_host("stranger", LAN),
    )
    with (
        speaking(host.prefix, PORT, listen=True) as inside,
        speaking(friend.prefix, PORT, listen=True) as friendly,
        speaking(friend.prefix, PORT + 1) as other_port,
        speaking(stranger.prefix, PORT, listen=True) as strange,
    ):
        yield Home(
            router=router,
            host=host,
            inside=inside,
            friend=friendly,
            friend_address=friend.address,
            other_port=other_port,
            stranger=strange,
            stranger_address=stranger.address,
        )
