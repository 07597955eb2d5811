"""Why there is no route, as far as the client knows, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from p2pinfer.client.route.routing import name_layers
from p2pinfer.errors import LARGER_SERVERS, ROOM, SERVERS_TO_JOIN, NoRouteError, P2PInferError, RefusedError
from p2pinfer.swarm.census.stretches import missing_spans
from p2pinfer.types import Span
from p2pinfer.wire.status import Reason


class Why(Enum):
    """Why a server gets no place in a route. The values follow `is`."""

    FULL = "full"
    BUSY = "busy with as many sessions as allowed"
    TOO_SMALL = "too small for a session this long"
    LEAVING = "leaving"
    LOADING = "still loading"
    UNREACHABLE = "unreachable from here"
    NO_ADDRESS = "without an address that can be dialled"
    NOT_ASKED = "not asked yet, for there are many"
    FAILED = "left out for a moment after a failure"
    REFUSING = "refusing this client's sessions"
    OTHER_NUMERICS = "computing in another numerics class than the rest"
    OTHER_MODEL = "announcing another number of layers for this model"


_AFTER_REFUSAL: dict[str, Why] = {
    Reason.CACHE_FULL: Why.FULL,
    Reason.BUSY: Why.BUSY,
    Reason.TOO_LONG: Why.TOO_SMALL,
    Reason.DRAINING: Why.LEAVING,
    Reason.LEAVING: Why.LEAVING,
    Reason.WRONG_NUMERICS: Why.OTHER_NUMERICS,
    Reason.UNSIGNED: Why.REFUSING,
    Reason.BAD_OPENING: Why.REFUSING,
    Reason.BAD_RECEIPT: Why.REFUSING,
    Reason.WRONG_MODEL: Why.REFUSING,
    Reason.WRONG_LAYERS: Why.REFUSING,
    Reason.WRONG_SERVER: Why.REFUSING,
}
_WITHOUT_ROOM = (Why.FULL, Why.BUSY)

LACKS_ROOM = (Why.FULL, Why.TOO_SMALL)
"""Servers that would perhaps take a smaller session."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A server that a route can't have now."""

    layers: Span
    numerics: str
    why: Why


def why_avoided(error: P2PInferError) -> Why:
    """Return why a server is avoided after this error."""
    if isinstance(error, RefusedError):
        return _AFTER_REFUSAL.get(error.reason, Why.FAILED)
    return Why.FAILED


def explained(
    error: NoRouteError, usable: Sequence[tuple[Span, str]], left_out: Sequence[LeftOut], num_layers: int
) -> NoRouteError:
    """Return the error of a search for a route with the reasons that the client knows.

    `usable` has the layers and the numerics class of each server that the search had, `left_out` the others.
    """
    if error.missing:
        return _shortage(error.missing, left_out)
    alike = {numerics: [span for span, other in usable if other == numerics] for _, numerics in usable}
    gaps = {numerics: missing_spans(spans, num_layers) for numerics, spans in alike.items()}
    if not gaps:
        return error
    numerics, missing = min(gaps.items(), key=lambda gap: (sum(map(len, gap[1])), gap[0]))
    known = _reasons([server for server in left_out if server.numerics == numerics], missing)
    message = f"{error}: those of class {numerics} lack {name_layers(missing)}"
    return NoRouteError(message, missing, reason=known)


def _shortage(missing: Sequence[Span], left_out: Sequence[LeftOut]) -> NoRouteError:
    has_room_later = _are_held(missing, left_out, _WITHOUT_ROOM)
    has_small = _are_held(missing, left_out, (*_WITHOUT_ROOM, Why.TOO_SMALL))
    waiting_for = ROOM if has_room_later else LARGER_SERVERS if has_small else SERVERS_TO_JOIN
    return NoRouteError(
        f"no room for {name_layers(missing)}" if has_room_later else f"no server for {name_layers(missing)}",
        tuple(missing),
        reason=_reasons(left_out, missing),
        waiting_for=waiting_for,
    )


def _are_held(missing: Sequence[Span], left_out: Sequence[LeftOut], whys: Sequence[Why]) -> bool:
    """True if servers that are left out for these reasons hold all missing layers."""
    held = [server.layers for server in left_out if server.why in whys]
    return all(not [gap for gap in missing_spans(held, span.end) if gap.end > span.start] for span in missing)


def _reasons(left_out: Iterable[LeftOut], missing: Sequence[Span]) -> str:
    """Say why the servers that hold missing layers are left out; empty if there are none.

    Without numbers: the same reasons are the same words, which are then said once.
    """
    found = {server.why for server in left_out if any(_overlap(server.layers, span) for span in missing)}
    words = [why.value for why in Why if why in found]
    return f"every known server that has them is {' or '.join(words)}" if words else ""


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
