"""Which web pages may use a gateway. Pure.

A browser lets any page send requests to this machine. Where a key is needed a foreign page has none. Without
keys two rules keep it out: its `Origin` isn't ours, and where it gives our address a name of its own (DNS
rebinding), the `Host` is that name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRules:
    """What a request's headers may be."""

    only_loopback_hosts: bool
    """Refuse any `Host` that doesn't mean this machine."""

    only_own_origin: bool
    """Refuse any `Origin` that is neither the request's own host nor an allowed one."""

    allowed_origins: Collection[str] = ()
    """Origins such as `https://chat.example`, or `*`: their pages may use the gateway."""


KEYLESS_LOOPBACK = OriginRules(only_loopback_hosts=True, only_own_origin=True)


def is_loopback(host: str) -> bool:
    """True for a name or an address that only this machine has."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def is_origin(text: str) -> bool:
    """True for what browsers send as an origin: a scheme, a host, and maybe a port."""
    parts = _split(text)
    return (
        parts is not None and parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}" == text
    )


def refusal(rules: OriginRules, *, host: str, origin: str | None) -> str:
    """Why a request with these headers isn't answered; empty if it is."""
    parts = _split(f"http://{host}")
    name = parts.hostname if parts is not None else None
    if rules.only_loopback_hosts and not (name and is_loopback(name)):
        return (
            "This gateway has no keys, and answers only requests to this machine: "
            "use http://127.0.0.1 or http://localhost as its address."
        )
    if rules.only_own_origin and origin is not None and not _is_welcome(rules, host, origin):
        return "Pages of other sites may not use this gateway: its operator can allow them by --allow-origin."
    return ""


def allows(rules: OriginRules, origin: str) -> bool:
    """True if pages of this origin may read answers."""
    return ANY in rules.allowed_origins or origin in rules.allowed_origins


def _is_welcome(rules: OriginRules, host: str, origin: str) -> bool:
    parts = _split(origin)
    return allows(rules, origin) or (parts is not None and parts.netloc.lower() == host.lower())


def _split(url: str):  # type: ignore[no-untyped-def]
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
