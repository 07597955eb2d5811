"""A host, as the users of a lab see it."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost:
    """One host. It exists as long as its lab."""

    name: str
    address: str
    """Its own address: public, or private behind a home router. IPv6 if it has no IPv4."""
    address6: str | None = None
    """Its public IPv6 address, also behind a router."""
    prefix: list[str]
    """Put these words before a command to run it on this host. The prefix becomes the command: process id,
    standard streams, inherited descriptors, session and environment are the command's own."""
