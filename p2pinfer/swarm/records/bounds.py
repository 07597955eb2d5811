"""The bounds of the fields of records. Each check raises InvalidRecordError, which names the field."""

from __future__ import annotations

import ipaddress
import math
import re
from functools import lru_cache

from p2pinfer.errors import InvalidRecordError
from p2pinfer.identity import peer_id_to_bytes
from p2pinfer.swarm.records.signed import MAX_LIFETIME_SECONDS
from p2pinfer.types import PeerId

MAX_LAYERS = 4096
_MODEL_HASH = re.compile(r"[0-9a-f]{64}")
_LATEST_TIME = 2.0**40  # Unix seconds; far from where doubles lose their milliseconds


def check_model(model: str) -> None:
    """Check that `model` is a manifest hash: 64 lowercase hex digits."""
    if not _MODEL_HASH.fullmatch(model):
        raise InvalidRecordError("model: a manifest hash is 64 lowercase hex digits")


def check_text(field: str, text: str, *, max_characters: int, required: bool = False) -> None:
    """Check the length, and that a text has no control characters, line breaks or marks of direction."""
    if len(text) > max_characters:
        raise InvalidRecordError(f"{field}: at most {max_characters} characters")
    if not text.isprintable():
        raise InvalidRecordError(f"{field}: only printable characters")
    if required and not text.strip():
        raise InvalidRecordError(f"{field}: must not be empty")


def check_number(field: str, value: float, low: float, high: float) -> None:
    """Check that a number is finite and in [low, high]."""
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidRecordError(f"{field}: must be between {low:g} and {high:g}")


def check_times(announced_at: float, expires_at: float) -> None:
    """Check that both are times in Unix seconds, in order, and that the lifetime is at most ten minutes."""
    check_number("announced_at", announced_at, 0.0, _LATEST_TIME)
    check_number("expires_at", expires_at, 0.0, _LATEST_TIME)
    if not announced_at < expires_at <= announced_at + MAX_LIFETIME_SECONDS:
        raise InvalidRecordError(f"expires_at: at most {MAX_LIFETIME_SECONDS:g} s after announced_at")


def check_endpoint(endpoint: str) -> None:
    """Check that it is `host:port`, with IPv6 in brackets, without what else gRPC's resolver understands."""
    check_text("endpoints", endpoint, max_characters=255)
    if not _ENDPOINT.fullmatch(endpoint) or not 0 < int(endpoint.rpartition(":")[2]) < 65536:
        raise InvalidRecordError("endpoints: written host:port, like 192.0.2.7:4600 or [2001:db8::7]:4600")


def check_maddr(field: str, maddr: str) -> PeerId:
    """Check that it is a full multiaddress of TCP or QUIC, to dial; returns the peer id at its end."""
    check_text(field, maddr, max_characters=MAX_MADDR_CHARACTERS)
    found = _MADDR.fullmatch(maddr)
    if not found or not 0 < int(found["port"] or found["port_of_quic"]) < 65536:
        raise InvalidRecordError(f"{field}: written like /ip4/192.0.2.7/tcp/31330/p2p/12D3KooW...")
    if found["kind"] in ("ip4", "ip6"):
        try:
            right = ipaddress.ip_address(found["host"]).version == int(found["kind"][-1])
        except ValueError:
            right = False
        if not right:
            raise InvalidRecordError(f"{field}: an IP address that can't be one")
    elif not _NAME.fullmatch(found["host"]):
        raise InvalidRecordError(f"{field}: a name that no host can have")
    if not _is_peer_id(found["peer"]):
        raise InvalidRecordError(f"{field}: a peer id that no peer has")
    return PeerId(found["peer"])


@lru_cache(maxsize=4096)  # the same relays are in many records
def _is_peer_id(text: str) -> bool:
    """True if a key is in it: not all texts that look so have one, and no stream is opened to them."""
    try:
        peer_id_to_bytes(text)
    except ValueError:
        return False
    return True


MAX_MADDR_CHARACTERS = 160
_MADDR = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[A-Za-z0-9.:-]+)"
    r"/(?:tcp/(?P<port>[0-9]{1,5})|udp/(?P<port_of_quic>[0-9]{1,5})/quic-v1)"
    r"/p2p/(?P<peer>12D3KooW[1-9A-HJ-NP-Za-km-z]{44})"
)
_NAME = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_ENDPOINT = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
