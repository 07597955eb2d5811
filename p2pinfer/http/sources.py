"""Where a request comes from."""

from __future__ import annotations

from starlette.types import Scope

from p2pinfer.fairness.guest import Guest
from p2pinfer.fairness.sources import Source, source_of


def source_of_request(scope: Scope) -> Source:
    """The network of a request's visitor, behind a proxy that the operator has named too."""
    client = scope.get("client")
    return source_of(client[0] if client else "")


def guest_of_request(scope: Scope) -> Guest:
    """The visitor, who has no key."""
    return Guest(sources=(source_of_request(scope),))
