"""The kinds of home routers: what they let in, and which public port they give to what goes out."""

from __future__ import annotations

import enum


class RouterKind(enum.Enum):
    """A kind of router. Its value is what users type; in brackets, the words of RFC 4787 and older ones."""

    NONE = "none"
    """No router: the host itself has the public address."""

    HOME = "home"
    """The usual home: a mapping keeps the host's own port, whatever the destination, while no other host uses
    it. In comes only what answers: packets from an address and port that the host has sent to
    (endpoint-independent mapping, address and port dependent filtering; "port-restricted cone"). What is let
    out opens the way for what comes in, so two such homes reach each other if both send at the same time."""

    FULL_CONE = "full-cone"
    """As HOME, but anybody may send to a port from which the host has sent something in the last two minutes,
    UDP or TCP (endpoint-independent filtering). If two hosts use the same port, the first one gets it."""

    SYMMETRIC = "symmetric"
    """A random port for each destination; in comes only what answers (address and port dependent mapping)."""

    CARRIER = "carrier"
    """Carrier-grade: HOME behind HOME, the outer one with the public address, 100.64.0.0/10 between them."""

    UDP_BLOCKED = "udp-blocked"
    """HOME that passes no UDP, in neither direction."""

    PORT_MAPPING = "port-mapping"
    """HOME that forwards a port to a host that asks for it, by UPnP or NAT-PMP. Needs miniupnpd."""
